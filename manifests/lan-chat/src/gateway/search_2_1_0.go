//go:build since_2_1_0

package main

import (
	"net/http"
	"strings"
)

func init() {
	features = append(features, feature{
		name: "search",
		schema: []string{
			`CREATE INDEX IF NOT EXISTS messages_by_word ON messages USING gin (to_tsvector('simple', body))`,
		},
		routes: func(g *gateway, r *router) {
			r.handle("/api/search", map[string]http.HandlerFunc{"GET": g.search})
		},
	})
}

// search serves GET /api/search?q=…&limit=…: messages that hold all the words, the last word as a beginning.
func (g *gateway) search(w http.ResponseWriter, r *http.Request) {
	words := strings.Fields(strings.Map(func(c rune) rune {
		if strings.ContainsRune(`&|!()<>:*'\`, c) {
			return ' '
		}
		return c
	}, r.URL.Query().Get("q")))
	if len(words) == 0 {
		fail(w, http.StatusBadRequest, "q: which words?")
		return
	}
	found, err := g.store.query(r.Context(), selectMessages+`
		WHERE to_tsvector('simple', body) @@ to_tsquery('simple', $1) ORDER BY id DESC LIMIT $2`,
		"'"+strings.Join(words, "' & '")+"':*", limitOf(r))
	if err != nil {
		g.failWith(w, r, err)
		return
	}
	reply(w, http.StatusOK, map[string]interface{}{"query": strings.Join(words, " "), "messages": found})
}
