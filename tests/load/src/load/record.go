package main

import (
	"sort"
	"sync"
	"time"
)

// At most this many failures and drops are told one by one; all are counted.
const told = 50

// incident is something that went wrong.
type incident struct {
	At      float64   `json:"at"` // seconds since the start
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"`
	Session string    `json:"session,omitempty"`
	Error   string    `json:"error"`
}

// sighting is a version that answered.
type sighting struct {
	Version string  `json:"version"`
	FirstAt float64 `json:"first_at"`
	LastAt  float64 `json:"last_at"`
	Count   int     `json:"count"`
}

type requests struct {
	Sent      int                `json:"sent"`
	Failed    int                `json:"failed"`
	Latencies map[string]float64 `json:"latency_ms"`
	seconds   []float64
}

type sessions struct {
	Opened    int         `json:"opened"`
	NotOpened int         `json:"not_opened"`
	Dropped   int         `json:"dropped"`
	Held      int         `json:"held_to_the_end"`
	Pongs     int         `json:"pongs"`
	Versions  []*sighting `json:"versions"`
}

type second struct {
	Second   int            `json:"second"`
	Requests int            `json:"requests"`
	Failed   int            `json:"failed"`
	Dropped  int            `json:"dropped"`
	Open     int            `json:"open_sessions"`
	Slowest  float64        `json:"slowest_ms"`
	Versions map[string]int `json:"versions"`
}

// record collects what everybody sees.
type record struct {
	mu        sync.Mutex
	started   time.Time
	requests  map[string]*requests
	sessions  map[string]*sessions
	versions  []*sighting
	failures  []incident
	drops     []incident
	reopens   int
	open      int
	timeline  []*second
	sentTotal int
	failTotal int
}

func newRecord() *record {
	return &record{
		started:  time.Now(),
		requests: map[string]*requests{"kept_alive": {}, "new": {}},
		sessions: map[string]*sessions{"websocket": {}, "tcp": {}},
		failures: []incident{}, drops: []incident{},
	}
}

func (r *record) at() float64 {
	return float64(time.Since(r.started).Milliseconds()) / 1000
}

// now returns the current second of the timeline, making those that nothing happened in.
func (r *record) now() *second {
	index := int(time.Since(r.started) / time.Second)
	for len(r.timeline) <= index {
		r.timeline = append(r.timeline, &second{Second: len(r.timeline), Open: r.open, Versions: map[string]int{}})
	}
	return r.timeline[index]
}

func (r *record) see(list []*sighting, version string) []*sighting {
	if version == "" {
		version = "unknown"
	}
	for _, s := range list {
		if s.Version == version {
			s.LastAt = r.at()
			s.Count++
			return list
		}
	}
	return append(list, &sighting{Version: version, FirstAt: r.at(), LastAt: r.at(), Count: 1})
}

func (r *record) incident(list []incident, kind, name string, err error) []incident {
	if len(list) >= told {
		return list
	}
	return append(list, incident{At: r.at(), Time: time.Now().UTC(), Kind: kind, Session: name, Error: err.Error()})
}

func (r *record) request(kind string, begun time.Time, version string, err error) {
	took := time.Since(begun).Seconds()
	r.mu.Lock()
	defer r.mu.Unlock()
	now, all := r.now(), r.requests[kind]
	now.Requests++
	all.Sent++
	r.sentTotal++
	if err != nil {
		now.Failed++
		all.Failed++
		r.failTotal++
		r.failures = r.incident(r.failures, kind, "", err)
		return
	}
	all.seconds = append(all.seconds, took)
	if took*1000 > now.Slowest {
		now.Slowest = round(took * 1000)
	}
	now.Versions[version]++
	r.versions = r.see(r.versions, version)
}

func (r *record) reopened() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reopens++
}

func (r *record) opened(kind string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions[kind].Opened++
	r.open++
	r.now().Open = r.open
}

func (r *record) notOpened(kind, name string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions[kind].NotOpened++
	r.drops = r.incident(r.drops, kind, name, err)
}

func (r *record) dropped(kind, name string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions[kind].Dropped++
	r.open--
	now := r.now()
	now.Open = r.open
	now.Dropped++
	r.drops = r.incident(r.drops, kind, name, err)
}

func (r *record) held(kind string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions[kind].Held++
}

func (r *record) pong(kind, version string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sessions[kind]
	s.Pongs++
	s.Versions = r.see(s.Versions, version)
}

// report is what the whole run comes to; clean means that everything asked for happened and nothing went wrong.
func (r *record) report(p plan) map[string]interface{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	did := (p.keepAlive == 0 || r.requests["kept_alive"].Sent > 0) && (p.fresh == 0 || r.requests["new"].Sent > 0) &&
		r.sessions["websocket"].Opened >= p.webSockets && r.sessions["tcp"].Opened >= p.tcpSessions &&
		(p.webSockets == 0 || r.sessions["websocket"].Pongs > 0) && (p.tcpSessions == 0 || r.sessions["tcp"].Pongs > 0)
	dropped, missing := 0, 0
	for _, s := range r.sessions {
		dropped += s.Dropped
		missing += s.NotOpened
		if s.Versions == nil {
			s.Versions = []*sighting{}
		}
	}
	for _, q := range r.requests {
		q.Latencies = percentiles(q.seconds)
	}
	if r.versions == nil {
		r.versions = []*sighting{}
	}
	return map[string]interface{}{
		"started": r.started.UTC(), "seconds": r.at(),
		"clean":    did && r.failTotal == 0 && dropped == 0 && missing == 0,
		"requests": r.sentTotal, "failed": r.failTotal, "sessions_dropped": dropped, "sessions_not_opened": missing,
		"kept_alive": r.requests["kept_alive"], "new": r.requests["new"], "connections_closed_idle": r.reopens,
		"websocket": r.sessions["websocket"], "tcp": r.sessions["tcp"],
		"versions": r.versions, "failures": r.failures, "drops": r.drops, "timeline": r.timeline,
	}
}

func percentiles(seconds []float64) map[string]float64 {
	found := map[string]float64{}
	if len(seconds) == 0 {
		return found
	}
	sort.Float64s(seconds)
	last := float64(len(seconds) - 1)
	for name, share := range map[string]float64{"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1} {
		found[name] = round(seconds[int(share*last)] * 1000)
	}
	return found
}

func round(milliseconds float64) float64 { return float64(int64(milliseconds*100+0.5)) / 100 }
