package events

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// confirmURL is the address in sns-subscribe.json.
const (
	token      = "2336412f37fb687f5d51e6e241d09c805a5a57b30d712f794cc5f6a988666d92768dd60a747ba6f3beb71854e285d6ad02428b09ceece29417f1f02d609c582afbacc99c583a916b9981dd2728f4ae6fdb82efd087cc3b7849e05798d2d2785c03b0879594eeac82c01f235d0e717736"
	snsHost    = "https://sns.ap-east-1.amazonaws.com"
	confirmURL = snsHost + "/?Action=ConfirmSubscription&TopicArn=" + topic + "&Token=" + token
	otherTopic = "arn:aws:sns:ap-east-1:999999999999:photo-events"
)

// TestConfirmation: only an address of SNS that confirms this topic is asked for, as
// it is written here.
func TestConfirmation(t *testing.T) {
	const query = "?Action=ConfirmSubscription&TopicArn=" + topic + "&Token=" + token
	want := snsHost + "/?Action=ConfirmSubscription&Token=" + token + "&TopicArn=" + url.QueryEscape(topic)
	for _, good := range []string{
		confirmURL, snsHost + query, strings.Replace(confirmURL, topic, url.QueryEscape(topic), 1),
		confirmURL + "&X-Other=1", // is left out
	} {
		if got, ok := confirmation(good, topic); !ok || got != want {
			t.Errorf("%s: %s, %t", good, got, ok)
		}
	}
	for _, host := range []string{"sns.us-gov-west-1.amazonaws.com", "sns.cn-north-1.amazonaws.com.cn"} {
		if got, ok := confirmation("https://"+host+"/"+query, topic); !ok || !strings.HasPrefix(got, "https://"+host+"/?") {
			t.Errorf("%s: %s, %t", host, got, ok)
		}
	}
	// A token is no way to add a parameter.
	if got, ok := confirmation(snsHost+"/?Action=ConfirmSubscription&TopicArn="+topic+"&Token=a%26Action%3DDeleteTopic%23", topic); !ok ||
		got != snsHost+"/?Action=ConfirmSubscription&Token=a%26Action%3DDeleteTopic%23&TopicArn="+url.QueryEscape(topic) {
		t.Errorf("%s, %t", got, ok)
	}
	for _, bad := range []string{
		"", "nonsense", "//sns.ap-east-1.amazonaws.com/" + query, "/" + query,
		"http://sns.ap-east-1.amazonaws.com/" + query,
		"ftp://sns.ap-east-1.amazonaws.com/" + query,
		"https:sns.ap-east-1.amazonaws.com/" + query,
		"https://sns.ap-east-1.amazonaws.com:443/" + query,
		"https://sns.ap-east-1.amazonaws.com:8080/" + query,
		"https://sns.ap-east-1.amazonaws.com:/" + query,
		"https://user@sns.ap-east-1.amazonaws.com/" + query,
		"https://sns.ap-east-1.amazonaws.com@127.0.0.1/" + query,
		"https://127.0.0.1/" + query,
		"https://169.254.169.254/" + query,
		"https://[::1]/" + query,
		"https://localhost/" + query,
		"https://sns.amazonaws.com/" + query,
		"https://sns..amazonaws.com/" + query,
		"https://sns.a.b.amazonaws.com/" + query,
		"https://SNS.ap-east-1.amazonaws.com/" + query,
		"https://xsns.ap-east-1.amazonaws.com/" + query,
		"https://evil.example/sns.ap-east-1.amazonaws.com/" + query,
		"https://sns.ap-east-1.amazonaws.com.evil.example/" + query,
		"https://sns.ap-east-1.amazonaws.com.cn.evil.example/" + query,
		"https://sns.ap-east-1.amazonaws.com./" + query,
		"https://sns.ap-east-1.amazonaws.comx/" + query,
		"https://snsxap-east-1.amazonaws.com/" + query,
		"https://sns.ap-east-1xamazonaws.com/" + query,
		"https://sns.ap-east-1.amazonaws.com%2eevil.example/" + query,
		"https://sns.ap-east-1.amazonaws.com\n.evil.example/" + query,
		"https://sns.ap_east_1.amazonaws.com/" + query,
		"https://s3.ap-east-1.amazonaws.com/" + query,
		"https://bucket.s3.ap-east-1.amazonaws.com/" + query,
		"https://sns.ap-east-1.amazonaws.com/123456789012/queue" + query,
		"https://sns.ap-east-1.amazonaws.com//" + query,
		"https://sns.ap-east-1.amazonaws.com/" + query + "#x",
		snsHost + "/", snsHost + "/?Action=ConfirmSubscription",
		snsHost + "/?Action=ConfirmSubscription&TopicArn=" + topic,
		snsHost + "/?Action=ConfirmSubscription&TopicArn=" + topic + "&Token=",
		snsHost + "/?Action=Unsubscribe&TopicArn=" + topic + "&Token=" + token,
		snsHost + "/?action=ConfirmSubscription&TopicArn=" + topic + "&Token=" + token,
		snsHost + "/?Action=ConfirmSubscription&Token=" + token,
		snsHost + "/?Action=ConfirmSubscription&TopicArn=" + otherTopic + "&Token=" + token,
		snsHost + "/?Action=ConfirmSubscription&TopicArn=" + topic + "x&Token=" + token,
		snsHost + "/" + query + "&TopicArn=" + otherTopic,
		snsHost + "/" + query + "&Action=DeleteTopic",
		snsHost + "/" + query + "&Token=2",
		snsHost + "/" + query + ";Action=DeleteTopic",
		snsHost + "/" + query + "&%zz",
	} {
		if got, ok := confirmation(bad, topic); ok {
			t.Errorf("%s is asked for as %s", bad, got)
		}
	}
}

// confirmer notes what it is asked to confirm.
type confirmer struct {
	mu    sync.Mutex
	asked []string
	err   error
	limit time.Duration // until the deadline it was given
}

func (c *confirmer) confirm(ctx context.Context, url string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if deadline, ok := ctx.Deadline(); ok {
		c.limit = time.Until(deadline)
	}
	c.asked = append(c.asked, url)
	return c.err
}

func (c *confirmer) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

func only(bucket, arn string) func(string) string {
	return func(b string) string {
		if b == bucket {
			return arn
		}
		return ""
	}
}

// TestSubscriptions: a topic is confirmed when the operator named it for this
// bucket. Otherwise the log tells once which one asked.
func TestSubscriptions(t *testing.T) {
	c := &confirmer{}
	sent := readBody(t, "sns-subscribe.json")
	s := newServer(t, Options{Topics: only("HongKong", topic), Confirm: c.confirm}, bodyTimeout)
	resp, body := s.post(t, sent, "Content-Type", "text/plain; charset=UTF-8", "x-amz-sns-message-type", "SubscriptionConfirmation")
	if resp.StatusCode != http.StatusOK || body != "{\"confirmed\":true}\n" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if asked := c.all(); len(asked) != 1 || !strings.HasPrefix(asked[0], snsHost+"/?Action=ConfirmSubscription&Token="+token) {
		t.Errorf("asked for %v", asked)
	}
	if c.limit <= 0 || c.limit > confirmTimeout {
		t.Errorf("it had %s", c.limit)
	}
	if strings.Contains(s.log.String(), token) {
		t.Errorf("the token is in the log:\n%s", s.log)
	}

	// Another bucket's topic is not this bucket's.
	resp, body = s.do(t, http.MethodPost, Path("Hangzhou", otherSecret), bytes.NewReader(sent))
	p := wantProblem(t, resp, body, http.StatusForbidden, broker.CodeNotAllowed)
	if !strings.Contains(p.Detail, "sns_topic of the bucket Hangzhou") {
		t.Errorf("%s", p.Detail)
	}

	none := func(string) string { return "" }
	hostile := bytes.ReplaceAll(sent, []byte(snsHost), []byte("https://sns.ap-east-1.amazonaws.com.evil.example"))
	mixed := bytes.Replace(sent, []byte("&TopicArn="+topic), []byte("&TopicArn="+otherTopic), 1)
	foreign := bytes.ReplaceAll(sent, []byte(topic), []byte(otherTopic))
	for name, c := range map[string]struct {
		topics func(string) string
		body   []byte
		logged string
		detail string
	}{
		"no topics":       {nil, sent, topic, "set events.sns_topic"},
		"none named":      {none, sent, topic, "set events.sns_topic"},
		"another named":   {only("HongKong", otherTopic), sent, topic, "names another topic"},
		"of a foreigner":  {only("HongKong", topic), foreign, otherTopic, "names another topic"},
		"hostile address": {only("HongKong", topic), hostile, "not one of SNS", "SubscribeURL"},
		"two topics":      {only("HongKong", topic), mixed, "not one of SNS", "SubscribeURL"},
		"no ARN":          {none, bytes.ReplaceAll(sent, []byte(topic), []byte(`arn:a\nlevel=ERROR`)), "no ARN", "set events.sns_topic"},
	} {
		told := &confirmer{}
		s := newServer(t, Options{Topics: c.topics, Confirm: told.confirm}, bodyTimeout)
		for range 3 {
			resp, body := s.post(t, c.body)
			p := wantProblem(t, resp, body, http.StatusForbidden, broker.CodeNotAllowed)
			if !strings.Contains(p.Detail, "sns_topic of the bucket HongKong") || !strings.Contains(p.Detail, c.detail) {
				t.Errorf("%s: %s", name, p.Detail)
			}
		}
		if asked := told.all(); len(asked) > 0 {
			t.Errorf("%s: asked for %v", name, asked)
		}
		log := s.log.String()
		if strings.Count(log, "level=WARN") != 1 || strings.Count(log, c.logged) != 1 || strings.Contains(log, token) {
			t.Errorf("%s: the log:\n%s", name, log)
		}
	}
}

// TestConfirmFails: SNS asks again, and the address stays out of the log.
func TestConfirmFails(t *testing.T) {
	c := &confirmer{err: fmt.Errorf("confirm: %w", &url.Error{Op: "Get", URL: confirmURL, Err: errors.New("no route to host")})}
	s := newServer(t, Options{Topics: only("HongKong", topic), Confirm: c.confirm}, bodyTimeout)
	resp, body := s.post(t, readBody(t, "sns-subscribe.json"))
	wantProblem(t, resp, body, http.StatusServiceUnavailable, broker.CodeUnavailable)
	if log := s.log.String(); resp.Header.Get("Retry-After") == "" || strings.Contains(log, token) || !strings.Contains(log, "no route to host") {
		t.Errorf("%v\n%s", resp.Header, log)
	}
	s = newServer(t, Options{Topics: only("HongKong", topic)}, bodyTimeout)
	resp, body = s.post(t, readBody(t, "sns-subscribe.json"))
	wantProblem(t, resp, body, http.StatusForbidden, broker.CodeNotAllowed)
}

// TestTopics: a bucket whose topic is named takes no other's events, and what did
// not come by SNS all the same.
func TestTopics(t *testing.T) {
	event := record("ObjectCreated:Put", keyA, etag)
	inMNS := `{"TopicName":"t","Message":` + strconv.Quote(inSNS(event)) + `}`
	raw := func(arn string) []string {
		return []string{"x-amz-sns-rawdelivery", "true", "x-amz-sns-topic-arn", arn}
	}
	for _, c := range []struct {
		named   string
		body    string
		headers []string
		ok      bool
	}{
		{topic, inSNS(event), nil, true},
		{topic, event, nil, true},
		{topic, event, raw(topic), true},
		{"", inSNS(event), nil, true},
		{"", event, raw(otherTopic), true},
		{otherTopic, inSNS(event), nil, false},
		{otherTopic, inSNS(event), raw(otherTopic), false}, // what SNS wrote counts
		{otherTopic, inMNS, nil, false},
		{otherTopic, event, raw(topic), false},
		{otherTopic, string(readBody(t, "sns-unsubscribe.json")), nil, false},
	} {
		s := newServer(t, Options{Topics: only("HongKong", c.named)}, bodyTimeout)
		resp, body := s.post(t, []byte(c.body), c.headers...)
		took := s.store.took("HongKong")
		if c.ok && (resp.StatusCode != http.StatusOK || len(took) != 1) {
			t.Errorf("%q, %.40s: %d %s, took %v", c.named, c.body, resp.StatusCode, body, took)
		}
		if !c.ok {
			wantProblem(t, resp, body, http.StatusForbidden, broker.CodeNotAllowed)
			if len(took) > 0 || strings.Count(s.log.String(), topic) != 1 || strings.Contains(s.log.String(), "sends no more") {
				t.Errorf("%q, %.40s: took %v, the log:\n%s", c.named, c.body, took, s.log)
			}
		}
	}
}

// TestRefusalsEnd: nobody fills the log or the memory with ever other topics.
func TestRefusalsEnd(t *testing.T) {
	var r refusals
	said := 0
	for i := range 1000 {
		if r.first(strconv.Itoa(i % 500)) {
			said++
		}
	}
	if said != maxTold || len(r.told) != maxTold {
		t.Errorf("said %d, remembered %d", said, len(r.told))
	}
}
