package main

import "github.com/prometheus/client_golang/prometheus"

// deliveries counts the tries to deliver webhooks. It is asked for once.
func (m *metrics) deliveries() func(host, result string) {
	tries := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "uploadbroker_webhook_tries_total", Help: "Tries to deliver webhooks, by host and result: delivered, failed (it is tried again) or dead (it was given up).",
	}, []string{"host", "result"})
	m.registry.MustRegister(tries)
	return func(host, result string) { tries.WithLabelValues(host, result).Inc() }
}
