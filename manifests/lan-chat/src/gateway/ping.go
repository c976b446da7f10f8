//go:build !since_2_2_0 || since_2_2_1

package main

import "net/http"

// ping says who answers. It asks nobody, so it is cheap.
func (g *gateway) ping(w http.ResponseWriter, r *http.Request) {
	reply(w, http.StatusOK, g.identity())
}
