package main

import (
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/uploadbroker/uploadbroker/broker"
)

// metrics is what /metrics tells.
type metrics struct {
	registry *prometheus.Registry
	storage  *prometheus.HistogramVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		storage: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "uploadbroker_storage_seconds", Help: "Operations of the broker's own in buckets, by bucket, operation and error code.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 10),
		}, []string{"bucket", "op", "code"}),
	}
	m.registry.MustRegister(m.storage, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// observe is storage's Observer.
func (m *metrics) observe(symbol, op string, took time.Duration, code broker.Code) {
	m.storage.WithLabelValues(symbol, op, string(code)).Observe(took.Seconds())
}

// watchPool tells of the connections to the database.
func (m *metrics) watchPool(pool *pgxpool.Pool) {
	gauge := func(name, help string, f func(*pgxpool.Stat) float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return f(pool.Stat()) }))
	}
	gauge("uploadbroker_database_connections", "Open connections to the database.", func(s *pgxpool.Stat) float64 { return float64(s.TotalConns()) })
	gauge("uploadbroker_database_connections_busy", "Connections in use.", func(s *pgxpool.Stat) float64 { return float64(s.AcquiredConns()) })
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
