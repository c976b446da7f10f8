package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"lanchat/serve"
	"lanchat/version"
)

const (
	maxBody      = 64 << 10
	defaultLimit = 50
	maxLimit     = 500
)

// router is the standard one, with methods.
type router struct{ mux *http.ServeMux }

func (r *router) handle(pattern string, methods map[string]http.HandlerFunc) {
	r.mux.HandleFunc(pattern, func(w http.ResponseWriter, request *http.Request) {
		name := request.Method
		if name == http.MethodHead {
			name = http.MethodGet
		}
		handler, ok := methods[name]
		if !ok {
			fail(w, http.StatusMethodNotAllowed, "method is not known here")
			return
		}
		handler(w, request)
	})
}

func (g *gateway) routes() http.Handler {
	r := &router{mux: http.NewServeMux()}
	r.handle("/", map[string]http.HandlerFunc{"GET": servePage})
	r.handle("/ws", map[string]http.HandlerFunc{"GET": g.websocket})
	r.handle("/api/ping", map[string]http.HandlerFunc{"GET": g.ping})
	r.handle("/api/people", map[string]http.HandlerFunc{"GET": g.people})
	r.handle("/api/rooms", map[string]http.HandlerFunc{"GET": g.rooms})
	r.handle("/api/rooms/", map[string]http.HandlerFunc{"GET": g.readRoom, "POST": g.writeRoom})
	for _, f := range features {
		if f.routes != nil {
			f.routes(g, r)
		}
	}
	return r.mux
}

// routeOf keeps room and people's names out of the metrics.
func routeOf(path string) string {
	switch path {
	case "/", "/ws", "/healthz", "/metrics", "/api/ping", "/api/people", "/api/rooms", "/api/search":
		return path
	}
	switch {
	case strings.HasPrefix(path, "/api/rooms/"):
		return "/api/rooms/{room}/messages"
	case strings.HasPrefix(path, "/api/people/"):
		return "/api/people/{name}"
	}
	return "other"
}

func reply(w http.ResponseWriter, code int, body map[string]interface{}) {
	body["version"] = version.Version
	serve.JSON(w, code, body)
}

func fail(w http.ResponseWriter, code int, why string) {
	reply(w, code, map[string]interface{}{"error": why})
}

// failWith answers what went wrong: to whoever sent bad input the reason, to everybody else only that it did.
func (g *gateway) failWith(w http.ResponseWriter, r *http.Request, err error) {
	var bad badInput
	if errors.As(err, &bad) {
		fail(w, http.StatusBadRequest, bad.Error())
		return
	}
	g.log.Error("request failed", "path", r.URL.Path, "error", err)
	fail(w, http.StatusInternalServerError, "store does not answer; try again")
}

// identity is what every gateway says of itself.
func (g *gateway) identity() map[string]interface{} {
	return map[string]interface{}{
		"product": "lan-chat", "instance": serve.Instance(), "site": g.config.Site,
		"environment": g.config.Environment, "cluster_id": g.config.ClusterID, "peers": g.config.Peers,
		"features": featureNames(),
	}
}

func (g *gateway) people(w http.ResponseWriter, r *http.Request) {
	answer, err := g.presence.people(r.Context())
	if err != nil {
		g.log.Error("directory does not answer", "error", err)
		fail(w, http.StatusBadGateway, "directory does not answer; try again")
		return
	}
	reply(w, http.StatusOK, map[string]interface{}{"people": answer["people"], "directory_version": answer["version"]})
}

func (g *gateway) rooms(w http.ResponseWriter, r *http.Request) {
	found, err := g.store.rooms(r.Context())
	if err != nil {
		g.failWith(w, r, err)
		return
	}
	reply(w, http.StatusOK, map[string]interface{}{"rooms": found})
}

// roomIn takes the room out of /api/rooms/{room}/messages.
func roomIn(path string) (string, bool) {
	name := strings.TrimSuffix(strings.TrimPrefix(path, "/api/rooms/"), "/messages")
	return name, strings.HasSuffix(path, "/messages") && validRoom(name)
}

func number(r *http.Request, key string, otherwise int64) int64 {
	value, err := strconv.ParseInt(r.URL.Query().Get(key), 10, 64)
	if err != nil || value < 0 {
		return otherwise
	}
	return value
}

func limitOf(r *http.Request) int {
	limit := number(r, "limit", defaultLimit)
	if limit > maxLimit {
		limit = maxLimit
	}
	return int(limit)
}

func (g *gateway) readRoom(w http.ResponseWriter, r *http.Request) {
	name, ok := roomIn(r.URL.Path)
	if !ok {
		fail(w, http.StatusNotFound, "no such room; "+roomRule)
		return
	}
	found, err := g.store.history(r.Context(), name, number(r, "before", 0), number(r, "after", 0), limitOf(r))
	if err != nil {
		g.failWith(w, r, err)
		return
	}
	reply(w, http.StatusOK, map[string]interface{}{"room": name, "messages": found})
}

func (g *gateway) writeRoom(w http.ResponseWriter, r *http.Request) {
	name, ok := roomIn(r.URL.Path)
	if !ok {
		fail(w, http.StatusNotFound, "no such room; "+roomRule)
		return
	}
	var body struct{ Name, Text string }
	if !readBody(w, r, &body) {
		return
	}
	written, err := g.post(r.Context(), viaHTTP, name, body.Name, body.Text)
	if err != nil {
		g.failWith(w, r, err)
		return
	}
	reply(w, http.StatusCreated, map[string]interface{}{"message": written})
}

func readBody(w http.ResponseWriter, r *http.Request, into interface{}) bool {
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(into); err != nil {
		fail(w, http.StatusBadRequest, "body is not the JSON that is expected here")
		return false
	}
	return true
}
