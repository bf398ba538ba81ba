package events

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/uploadbroker/uploadbroker/broker"
)

// topic is the ARN of the bucket's own topic; "" when none is named.
func (f *face) topic(bucket string) string {
	if f.Topics == nil {
		return ""
	}
	return f.Topics(bucket)
}

// checkTopic refuses another topic than the one that the operator has named, if he
// has. What did not come by SNS has none.
func (f *face) checkTopic(ctx context.Context, bucket, topic string) error {
	named := f.topic(bucket)
	if named == "" || topic == "" || topic == named {
		return nil
	}
	f.tell(ctx, bucket, topic, "events of an SNS topic that is not the bucket's are refused")
	return broker.Errorf(broker.CodeNotAllowed, "events.sns_topic of the bucket %s names another topic; set it to this topic's ARN, or remove the subscription", bucket)
}

// subscribe answers SNS's question whether it may send. It is confirmed for the
// topic that the operator has named: otherwise anyone who has come to know the
// secret could subscribe us to topics, and have us ask for addresses.
func (f *face) subscribe(c echo.Context, bucket string, n Notice) error {
	ctx := c.Request().Context()
	named := f.topic(bucket)
	if named == "" {
		f.tell(ctx, bucket, n.Topic, "an SNS topic asks to send events; to confirm it, set events.sns_topic of the bucket to its ARN and subscribe again")
		return broker.Errorf(broker.CodeNotAllowed, "set events.sns_topic of the bucket %s to this topic's ARN, which the log has, and let SNS ask again", bucket)
	}
	if err := f.checkTopic(ctx, bucket, n.Topic); err != nil {
		return err
	}
	address, ok := confirmation(n.Subscription.URL, named)
	if !ok {
		f.tell(ctx, bucket, n.Topic, "a subscription's SubscribeURL is not one of SNS for the topic; it is not asked for")
		return broker.Errorf(broker.CodeNotAllowed, "the SubscribeURL does not confirm the subscription of the topic that events.sns_topic of the bucket %s names", bucket)
	}
	if f.Confirm == nil {
		f.tell(ctx, bucket, n.Topic, "an SNS topic asks to send events, and this server confirms none; confirm the subscription in the console")
		return broker.Errorf(broker.CodeNotAllowed, "this server confirms no subscriptions; confirm that of events.sns_topic of the bucket %s in the console", bucket)
	}
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	if err := f.Confirm(ctx, address); err != nil {
		return &broker.Error{
			Code: broker.CodeUnavailable, Msg: "SNS did not confirm the subscription; let it ask again",
			RetryAfter: 20 * time.Second, Err: withoutURL(err), // as SNS itself waits
		}
	}
	f.Log.InfoContext(ctx, "the subscription of an SNS topic is confirmed", "bucket", bucket, "topic", named)
	return c.JSON(http.StatusOK, map[string]bool{"confirmed": true})
}

// withoutURL takes out of an error of an HTTP client the address that was asked
// for: it confirms a subscription for whoever has it.
func withoutURL(err error) error {
	var asked *url.Error
	if errors.As(err, &asked) {
		return asked.Err
	}
	return err
}

// confirmation writes the address that confirms a topic's subscription anew from
// what the sender's says, or reports that this one confirms something else.
func confirmation(sent, topic string) (string, bool) {
	u, err := url.Parse(sent)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Fragment != "" || !isSNSHost(u.Host) || u.Path != "" && u.Path != "/" {
		return "", false
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", false
	}
	once := func(name string) string {
		if len(query[name]) != 1 {
			return ""
		}
		return query[name][0]
	}
	token := once("Token")
	if once("Action") != "ConfirmSubscription" || once("TopicArn") != topic || token == "" {
		return "", false
	}
	query = url.Values{"Action": {"ConfirmSubscription"}, "TopicArn": {topic}, "Token": {token}}
	return "https://" + u.Host + "/?" + query.Encode(), true
}

// isSNSHost reports whether SNS answers at a host, which may have no port.
func isSNSHost(host string) bool {
	return regexp.MustCompile(`^sns\.[a-z0-9-]+\.amazonaws\.com(\.cn)?$`).MatchString(host)
}

// readable is an ARN as it may stand in a log: the senders' words may be anything.
func readable(arn string) string {
	if !strings.HasPrefix(arn, "arn:") || len(arn) > 400 || strings.ContainsFunc(arn, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "no ARN"
	}
	return arn
}

// maxTold bounds what is remembered of refusals.
const maxTold = 100

// refusals are the messages that the log has already.
type refusals struct {
	mu   sync.Mutex
	told map[string]bool
}

// first reports whether the log is to have a message: once each, and not forever
// others, since their words come from outside.
func (r *refusals) first(message string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.told[message] || len(r.told) >= maxTold {
		return false
	}
	if r.told == nil {
		r.told = map[string]bool{}
	}
	r.told[message] = true
	return true
}

// tell logs once what an operator has to decide about a topic.
func (f *face) tell(ctx context.Context, bucket, topic, what string) {
	topic = readable(topic)
	if f.refusals.first(bucket + "\n" + topic + "\n" + what) {
		f.Log.WarnContext(ctx, what, "bucket", bucket, "topic", topic)
	}
}
