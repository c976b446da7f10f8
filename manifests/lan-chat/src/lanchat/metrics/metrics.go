// Package metrics keeps counters, gauges and histograms and writes them in the Prometheus text format.
package metrics

import (
	"fmt"
	"io"
	"sort"
	"strconv"
	"strings"
	"sync"
)

// Registry is a set of metrics, written in the order in which they were made.
type Registry struct {
	mu      sync.Mutex
	writers []func(io.Writer)
}

func (r *Registry) add(write func(io.Writer)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writers = append(r.writers, write)
}

// Write writes all metrics.
func (r *Registry) Write(w io.Writer) {
	r.mu.Lock()
	writers := append([]func(io.Writer){}, r.writers...)
	r.mu.Unlock()
	for _, write := range writers {
		write(w)
	}
}

// Counter counts up, once per combination of label values.
type Counter struct {
	labels []string
	mu     sync.Mutex
	values map[string]float64
}

// Counter makes a counter with the given label names.
func (r *Registry) Counter(name, help string, labels ...string) *Counter {
	c := &Counter{labels: labels, values: map[string]float64{}}
	r.add(func(w io.Writer) {
		header(w, name, help, "counter")
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, key := range sortedKeys(c.values) {
			fmt.Fprintf(w, "%s%s %s\n", name, key, number(c.values[key]))
		}
	})
	if len(labels) == 0 {
		c.values[""] = 0
	}
	return c
}

// Add adds to the series with these label values, in the order of the label names.
func (c *Counter) Add(amount float64, values ...string) {
	key := labelSet(c.labels, values)
	c.mu.Lock()
	c.values[key] += amount
	c.mu.Unlock()
}

// Gauge makes a gauge that asks read for its value whenever it is written.
func (r *Registry) Gauge(name, help string, read func() float64) {
	r.add(func(w io.Writer) {
		header(w, name, help, "gauge")
		fmt.Fprintf(w, "%s %s\n", name, number(read()))
	})
}

// Info makes a gauge that is always 1 and says what it has to say in its labels.
func (r *Registry) Info(name, help string, labels, values []string) {
	line := name + labelSet(labels, values) + " 1\n"
	r.add(func(w io.Writer) {
		header(w, name, help, "gauge")
		_, _ = io.WriteString(w, line)
	})
}

// Histogram sorts what it observes into buckets.
type Histogram struct {
	bounds []float64
	mu     sync.Mutex
	counts []uint64
	count  uint64
	sum    float64
}

// Histogram makes a histogram with these upper bounds, in rising order.
func (r *Registry) Histogram(name, help string, bounds ...float64) *Histogram {
	h := &Histogram{bounds: bounds, counts: make([]uint64, len(bounds))}
	r.add(func(w io.Writer) {
		header(w, name, help, "histogram")
		h.mu.Lock()
		defer h.mu.Unlock()
		var below uint64
		for i, bound := range h.bounds {
			below += h.counts[i]
			fmt.Fprintf(w, "%s_bucket{le=\"%s\"} %d\n", name, number(bound), below)
		}
		fmt.Fprintf(w, "%s_bucket{le=\"+Inf\"} %d\n%s_sum %s\n%s_count %d\n", name, h.count, name, number(h.sum), name, h.count)
	})
	return h
}

// Observe counts one value.
func (h *Histogram) Observe(value float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count++
	h.sum += value
	if i := sort.SearchFloat64s(h.bounds, value); i < len(h.bounds) {
		h.counts[i]++
	}
}

func header(w io.Writer, name, help, kind string) {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func number(value float64) string { return strconv.FormatFloat(value, 'g', -1, 64) }

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func labelSet(labels, values []string) string {
	if len(labels) == 0 {
		return ""
	}
	parts := make([]string, len(labels))
	for i, label := range labels {
		parts[i] = label + `="` + escape.Replace(values[i]) + `"`
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func sortedKeys(values map[string]float64) []string {
	keys := make([]string, 0, len(values))
	for key := range values {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
