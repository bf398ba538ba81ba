package main

import (
	"context"
	"fmt"
	"time"

	"github.com/uploadbroker/uploadbroker/broker"
)

// bucketsEventsCmd tells where buckets send their events.
type bucketsEventsCmd struct {
	operator
	Symbol string `arg:"" optional:"" help:"Only this bucket."`
}

// Run prints a URL for each bucket in a cloud, and how its cloud is told.
func (c *bucketsEventsCmd) Run(ctx context.Context, io stdio) error {
	cfg, err := c.load(nil)
	if err != nil {
		return &exitError{exitUsage, err.Error()}
	}
	base := cfg.PublicURL
	if base == "" {
		base = "http://" + cfg.Listen
	}
	var places []broker.Bucket
	clouds := map[string]bool{}
	for _, b := range cfg.Buckets {
		if c.Symbol == "" || c.Symbol == b.Symbol {
			places = append(places, broker.Bucket{Symbol: b.Symbol, Events: broker.EventRules{Secret: b.Events.Secret}})
			clouds[b.Cloud] = true
		}
	}
	switch {
	case len(places) == 0 && c.Symbol != "":
		return &exitError{exitUsage, fmt.Sprintf("no bucket %q is configured in a cloud; `%s buckets list` shows them", c.Symbol, executable())}
	case len(places) == 0:
		fmt.Fprintln(io.Err, "No bucket in a cloud is configured. The local bucket needs no events.")
		return nil
	}
	return c.with(ctx, io, func(db *database, _ *broker.Keys) error {
		arrivals := &broker.Arrivals{Store: db.Store, Places: broker.NewPlaces(broker.ConfiguredOrder{}, places...), Now: time.Now}
		var rows [][]string
		for _, b := range places {
			secret, err := arrivals.Secret(ctx, b.Symbol)
			if err != nil {
				return err
			}
			rows = append(rows, []string{b.Symbol, base + "/events/" + b.Symbol + "/" + secret})
		}
		if err := table(io, "SYMBOL\tSEND EVENTS TO", rows); err != nil {
			return err
		}
		for _, cloud := range []broker.Cloud{broker.CloudS3, broker.CloudMinIO, broker.CloudOSS} {
			if clouds[string(cloud)] {
				fmt.Fprint(io.Err, "\n"+eventHelp(cloud))
			}
		}
		if cfg.PublicURL == "" {
			fmt.Fprintln(io.Err, "\npublic_url is not set: replace the host by one that the bucket reaches.")
		}
		return nil
	})
}

// eventHelp says how a cloud is told where to send.
func eventHelp(cloud broker.Cloud) string {
	switch cloud {
	case broker.CloudMinIO:
		return `MINIO: a webhook of the server, and a rule of the bucket (the token is the last part of the URL, which may then be left out of it):
  mc admin config set ALIAS notify_webhook:uploadbroker endpoint=URL queue_dir=/var/lib/minio-events && mc admin service restart ALIAS
  mc event add ALIAS/BUCKET arn:minio:sqs::uploadbroker:webhook --event put
`
	case broker.CloudOSS:
		return `OSS: an EventBridge rule for oss:ObjectCreated with an HTTPS target, an SMQ (MNS) topic with an HTTP push, or the upload's own callbackUrl.
`
	}
	return `S3: an EventBridge rule for "Object Created" with an API destination, or an SNS topic with an HTTPS subscription.
  The subscription is confirmed when the bucket's events.sns_topic names the topic.
`
}
