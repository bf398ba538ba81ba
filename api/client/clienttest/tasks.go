package clienttest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/uploadbroker/uploadbroker/api/client"
)

// AddTask gives the stand-in a task, whose id and project are filled in where they
// are empty, and returns it.
func (s *Server) AddTask(t client.Task) client.Task {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addTask(t)
}

func (s *Server) addTask(t client.Task) client.Task {
	if t.ID == "" {
		t.ID = fmt.Sprintf("01TASK%020d", len(s.tasks)+1)
	}
	if t.Results == nil {
		t.Results = []client.TaskResult{}
	}
	t.CreatedAt = time.Now()
	s.tasks = append(s.tasks, &t)
	return t
}

// ChangeTask changes a task while the stand-in is in use.
func (s *Server) ChangeTask(id string, f func(*client.Task)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tasks {
		if t.ID == id {
			f(t)
		}
	}
}

func (s *Server) startTask(r *http.Request) (int, any) {
	p, no := s.find(r)
	if no != nil {
		return 404, no
	}
	if s.TaskFault != nil {
		return s.TaskFault.Status, s.TaskFault
	}
	var in struct{ Type, When string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return 422, problem(422, "invalid", "no options")
	}
	for _, im := range p.images {
		if im.State == client.StatePending {
			return 409, problem(409, "conflict", "the stand-in: an image was registered and not started when the reconstruction was asked for")
		}
	}
	if in.When != "settled" {
		return 201, s.addTask(client.Task{ProjectID: p.ID, Type: "Native", State: client.TaskProcessing, Stage: "sending", Engine: "nodeodm"})
	}
	return 201, s.addTask(client.Task{ProjectID: p.ID, Type: "Native", State: client.TaskPending, Stage: "waiting", Engine: "nodeodm"})
}

func (s *Server) listTasks(r *http.Request) (int, any) {
	out := client.TaskPage{Tasks: []client.Task{}}
	for _, t := range slices.Backward(s.tasks) {
		pid := r.PathValue("pid")
		if (pid == "" || pid == t.ProjectID) && strings.HasPrefix(t.ID, r.URL.Query().Get("id")) {
			out.Tasks = append(out.Tasks, *t)
		}
	}
	return 200, out
}

func (s *Server) oneTask(r *http.Request) (int, any) {
	for _, t := range s.tasks {
		if t.ID == r.PathValue("id") {
			return 200, *t
		}
	}
	return 404, problem(404, "not_found", "no such task")
}

func (s *Server) stopTask(r *http.Request) (int, any) {
	for _, t := range s.tasks {
		if t.ID == r.PathValue("id") {
			if !t.Ended() {
				t.State, t.Stage = client.TaskStopped, ""
			}
			return 200, *t
		}
	}
	return 404, problem(404, "not_found", "no such task")
}
