package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/uploadbroker/uploadbroker/broker"
)

// thumbFailures counts the thumbnails that could not be stored, whose images are
// Ready without one. It is asked for once.
func (m *metrics) thumbFailures() func(symbol string, code broker.Code) {
	failed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "uploadbroker_thumbnails_failed_total", Help: "Thumbnails that could not be stored, by bucket and error code.",
	}, []string{"bucket", "code"})
	m.registry.MustRegister(failed)
	return func(symbol string, code broker.Code) { failed.WithLabelValues(symbol, string(code)).Inc() }
}
