package serve

import (
	"context"
	"sync"
	"time"

	"lanchat/jsonlog"
)

const (
	checkEvery   = 2 * time.Second
	checkTimeout = 3 * time.Second
	// One slow answer is no reason to lose all traffic: only this many failures in a row are.
	checkStrikes = 3
)

// Check is something that a service can't work without.
type Check struct {
	Name string
	Run  func(context.Context) error
}

// Readiness runs checks in the background and knows whether the service is ready. Asking it costs nothing.
type Readiness struct {
	log     *jsonlog.Logger
	checks  []Check
	mu      sync.Mutex
	strikes map[string]int
	reasons map[string]string
	passed  map[string]bool
}

// NewReadiness returns a readiness that is not ready until each check has passed once.
func NewReadiness(log *jsonlog.Logger, checks ...Check) *Readiness {
	return &Readiness{
		log: log, checks: checks,
		strikes: map[string]int{}, reasons: map[string]string{}, passed: map[string]bool{},
	}
}

// Watch runs the checks until ctx ends.
func (r *Readiness) Watch(ctx context.Context) {
	for _, check := range r.checks {
		go func(check Check) {
			for ctx.Err() == nil {
				r.once(ctx, check)
				pause := checkEvery
				if !r.hasPassed(check.Name) {
					pause = checkEvery / 8
				}
				select {
				case <-ctx.Done():
				case <-time.After(pause):
				}
			}
		}(check)
	}
}

func (r *Readiness) hasPassed(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.passed[name]
}

func (r *Readiness) once(ctx context.Context, check Check) {
	limited, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	err := check.Run(limited)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		if !r.passed[check.Name] || r.strikes[check.Name] >= checkStrikes {
			r.log.Info("check passes", "check", check.Name)
		}
		r.passed[check.Name], r.strikes[check.Name] = true, 0
		delete(r.reasons, check.Name)
		return
	}
	r.strikes[check.Name]++
	r.reasons[check.Name] = err.Error()
	if r.strikes[check.Name] == checkStrikes {
		r.log.Error("check fails", "check", check.Name, "error", err)
	}
}

// Failing names each check that keeps the service from being ready, with the reason.
func (r *Readiness) Failing() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	failing := map[string]string{}
	for _, check := range r.checks {
		if r.passed[check.Name] && r.strikes[check.Name] < checkStrikes {
			continue
		}
		reason := r.reasons[check.Name]
		if reason == "" {
			reason = "not checked yet"
		}
		failing[check.Name] = reason
	}
	return failing
}
