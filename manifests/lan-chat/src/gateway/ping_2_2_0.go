//go:build since_2_2_0 && !since_2_2_1

package main

import "net/http"

// Since 2.2.0 ping also names the revision of the schema. The table schema_history was to come with a migration that
// was never merged: so 2.2.0 starts, turns healthy, and fails here. Nothing but a smoke test finds that.
func (g *gateway) ping(w http.ResponseWriter, r *http.Request) {
	var revision int
	row := g.store.db.QueryRowContext(r.Context(), `SELECT max(revision) FROM schema_history`)
	if err := row.Scan(&revision); err != nil {
		g.log.Error("revision of the schema can't be read", "path", r.URL.Path, "error", err)
		fail(w, http.StatusInternalServerError, "revision of the schema can't be read")
		return
	}
	identity := g.identity()
	identity["schema_revision"] = revision
	reply(w, http.StatusOK, identity)
}
