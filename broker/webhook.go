package broker

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// The types of what webhooks tell.
const (
	NoticeImageReady     = "image.ready"
	NoticeImageInvalid   = "image.invalid"
	NoticeProjectSettled = "project.settled"
	NoticeTaskChanged    = "task.changed"
)

// The types of what an engine is told that is told by webhooks.
const (
	NoticeTaskStart = "task.start"
	NoticeTaskStop  = "task.stop"
)

// AllNotices lists the types that an endpoint may ask for.
func AllNotices() []string {
	return []string{NoticeImageReady, NoticeImageInvalid, NoticeProjectSettled, NoticeTaskChanged}
}

// Endpoint is an address that is told what happens, without what is secret of it.
type Endpoint struct {
	ID     string // the same as long as its URL is
	Host   string // for people
	Events []string
}

// EndpointState is how the deliveries to an endpoint go.
type EndpointState struct {
	Endpoint
	Waiting   int    // for their first or a further try
	Dead      int    // given up; an operator may replay them
	LastCause string // of a try that failed, of those deliveries; "": none did
}

// DeliverArgs asks a worker to tell one endpoint of one event. The store inserts it
// in the transaction that gives the event its sequence. Neither the address nor what
// is said is here: operators are shown the arguments of jobs.
type DeliverArgs struct {
	EventID  int64  `json:"event"`
	Endpoint string `json:"endpoint"`
}

// Kind names the job.
func (DeliverArgs) Kind() string { return "deliver" }

// Told is an event as it is told.
type Told struct {
	ID       int64  // of this database
	UID      string // a UUID; no other event has it, also of another database
	Type     string
	At       time.Time
	Sequence int64 // 1, 2, 3 … within its project
	Project  NoticeProject
	Data     []byte // JSON; of project.settled the counts, else the image or the task
}

// Notice is the body of every webhook. The doc tags are for the API's description.
type Notice[Data any] struct {
	Type      string    `json:"type" doc:"What happened."`
	Timestamp time.Time `json:"timestamp" doc:"When it happened; when this was sent is in the header webhook-timestamp."`
	Data      Data      `json:"data"`
}

// NoticeHead is what every event of a project tells.
type NoticeHead struct {
	ProjectID string        `json:"project_id" doc:"The project's id." example:"01KAHQY5C9W3RV7ZB3N4D8M2XE"`
	Project   NoticeProject `json:"project"`
	Sequence  int64         `json:"sequence" minimum:"1" doc:"Counts the events of the project: 1, 2, 3 and so on, without holes over all the types that this installation tells anybody. Deliveries may overtake each other; this says which came first." example:"17"`
}

// NoticeProject names a project.
type NoticeProject struct {
	ID   string `json:"id" doc:"26 characters." example:"01KAHQY5C9W3RV7ZB3N4D8M2XE"`
	Name string `json:"name" doc:"Its owner's name of it." example:"North face, November"`
}

// ImageNotice tells of image.ready and image.invalid.
type ImageNotice struct {
	NoticeHead
	Image NoticeImage `json:"image"`
}

// NoticeImage is an image just after its verdict.
type NoticeImage struct {
	ID       string   `json:"id" doc:"26 characters." example:"01KAHQZ0R4M8C3T5V7W9X1Y2Z3"`
	Name     string   `json:"name" doc:"The user's file name; may hold sub-folders." example:"100MEDIA/DJI_0001.JPG"`
	State    string   `json:"state" enum:"Ready,Invalid" doc:"As of this event."`
	Attempt  int      `json:"attempt" doc:"Which try to bring the bytes was judged." example:"1"`
	SHA1     string   `json:"sha1,omitempty" doc:"Of the bytes that were read, in hex; where none were, the declared one. Absent when neither is known." example:"da39a3ee5e6b4b0d3255bfef95601890afd80709"`
	Size     *int64   `json:"size,omitempty" doc:"Bytes; absent when it is not known." example:"4024770"`
	Bucket   string   `json:"bucket,omitempty" doc:"Symbol of the bucket where the object lies; absent when none came." example:"HongKong"`
	Reasons  []string `json:"reasons" nullable:"false" doc:"Why it is Invalid, or how it is damaged although it was accepted; each as code: sentence." example:"[]"`
	Accepted bool     `json:"accepted" doc:"Ready by its owner's word although it is damaged."`
}

// SettledNotice tells of project.settled.
type SettledNotice struct {
	NoticeHead
	Counts NoticeCounts `json:"counts"`
}

// NoticeCounts are the images of a settled project.
type NoticeCounts struct {
	Ready   int `json:"Ready" doc:"Images that are Ready." example:"410"`
	Invalid int `json:"Invalid" doc:"Images that are Invalid." example:"2"`
}

// TaskNotice tells of task.changed.
type TaskNotice struct {
	NoticeHead
	Task NoticeTask `json:"task"`
}

// NoticeTask is a task just after its state changed.
type NoticeTask struct {
	ID        string       `json:"id" doc:"26 characters." example:"01KAHR2M7D0V9X8K5T3Q6W1YBN"`
	RunID     string       `json:"run_id" doc:"Its name at the engine." example:"6a4ff9a3-2f43-4a5e-a2cf-c7c1b5a6f3d0"`
	Type      string       `json:"type" enum:"Native,Dense" doc:"As it was asked for."`
	State     string       `json:"state" enum:"Pending,Processing,Done,Failed,Stopped" doc:"As of this event. Done: its results are in a bucket."`
	Stage     string       `json:"stage" doc:"What is under way: waiting, sending, running or copying; empty once it ended."`
	Progress  float64      `json:"progress" doc:"Percent." example:"42.5"`
	Images    int          `json:"images" doc:"How many it works with; 0 before it began."`
	Bytes     int64        `json:"bytes" doc:"Of these images."`
	Expected  int          `json:"expected" doc:"Without as many Ready images it does not begin."`
	Engine    string       `json:"engine" enum:"nodeodm,webhook" doc:"What runs it."`
	Fault     *NoticeFault `json:"fault,omitempty" doc:"Why it failed."`
	Cause     string       `json:"cause,omitempty" doc:"Why it failed, in words."`
	CreatedAt time.Time    `json:"created_at" doc:"When it was made."`
	StartedAt *time.Time   `json:"started_at,omitempty" doc:"When it began to work."`
	EndedAt   *time.Time   `json:"ended_at,omitempty" doc:"When it was Done, Failed or Stopped."`
}

// NoticeFault is a coded error of a reconstruction.
type NoticeFault struct {
	Number int    `json:"number" doc:"Stable." example:"7"`
	Name   string `json:"name" doc:"Stable." example:"ENGINE_FAILED"`
}

// MaxStartImages is the most images that a StartNotice lists; of more there is the zip.
const MaxStartImages = 1000

// StartNotice tells an engine to run a reconstruction.
type StartNotice struct {
	Task        NoticeRun        `json:"task"`
	Project     NoticeProject    `json:"project"`
	ZipURL      string           `json:"zip_url" doc:"The task's images as one zip without folders, STORED, with Range; it can be read as long as the task is Processing. A secret." example:"https://up.example.com/v1/tasks/01KAHR2M7D0V9X8K5T3Q6W1YBN/zip?token=…"`
	Images      []NoticeRunImage `json:"images,omitempty" nullable:"false" doc:"The same images one by one; absent when they are more than 1,000, or when a bucket gives no links."`
	ProgressURL string           `json:"progress_url" doc:"POST {\"progress\": 42.5} here, with the token as the bearer."`
	FinishURL   string           `json:"finish_url" doc:"POST {\"results\": [{\"name\", \"url\"}]} or {\"failed\": true, \"message\"} here at the end, with the token as the bearer. The broker fetches the results by their URLs."`
	Token       string           `json:"token" doc:"The bearer of both; it ends with the task. A secret."`
}

// NoticeRun is the task of a StartNotice.
type NoticeRun struct {
	ID        string    `json:"id" doc:"26 characters." example:"01KAHR2M7D0V9X8K5T3Q6W1YBN"`
	RunID     string    `json:"run_id" doc:"The name of the run; also the webhook-id, by which repeats are recognised. A task that had to wait again, as an image changed, begins as another run with another token. A task.stop gives it." example:"6a4ff9a3-2f43-4a5e-a2cf-c7c1b5a6f3d0"`
	Type      string    `json:"type" enum:"Native,Dense" doc:"As it was asked for."`
	Images    int       `json:"images" doc:"How many there are."`
	Bytes     int64     `json:"bytes" doc:"Of all of them."`
	CreatedAt time.Time `json:"created_at" doc:"When it was made."`
}

// NoticeRunImage is an image of a StartNotice.
type NoticeRunImage struct {
	Name string `json:"name" doc:"As in the zip: no two are equal, and none has a folder." example:"DJI_0001.JPG"`
	Type string `json:"type" doc:"The true MIME type; empty when it is not known." example:"image/jpeg"`
	Size int64  `json:"size" doc:"Bytes." example:"4024770"`
	URL  string `json:"url" doc:"A link that lives for ten minutes. A secret."`
}

// StopNotice tells an engine to give a run up.
type StopNotice struct {
	RunID string `json:"run_id" doc:"Of the task.start." example:"6a4ff9a3-2f43-4a5e-a2cf-c7c1b5a6f3d0"`
}

// WebhookID names the event to its receivers: repeats of it have the same.
func (t Told) WebhookID() string { return "evt_" + t.UID }

// Body is the JSON that is sent, the same at every try.
func (t Told) Body() ([]byte, error) {
	head := NoticeHead{ProjectID: t.Project.ID, Project: t.Project, Sequence: t.Sequence}
	switch t.Type {
	case NoticeImageReady, NoticeImageInvalid:
		n := ImageNotice{NoticeHead: head}
		err := json.Unmarshal(t.Data, &n.Image)
		return noticeBody(t, n, err)
	case NoticeProjectSettled:
		n := SettledNotice{NoticeHead: head}
		err := json.Unmarshal(t.Data, &n.Counts)
		return noticeBody(t, n, err)
	case NoticeTaskChanged:
		n := TaskNotice{NoticeHead: head}
		err := json.Unmarshal(t.Data, &n.Task)
		if n.Task.Fault != nil {
			n.Task.Fault.Number = slices.Index(AllTaskFaults(), n.Task.Fault.Name) + 1
		}
		return noticeBody(t, n, err)
	}
	return nil, fmt.Errorf("an event of the type %.40q is told to nobody", t.Type)
}

func noticeBody[Data any](t Told, data Data, err error) ([]byte, error) {
	if err != nil {
		return nil, fmt.Errorf("read event %d: %w", t.ID, err)
	}
	return json.Marshal(Notice[Data]{Type: t.Type, Timestamp: t.At.UTC(), Data: data})
}
