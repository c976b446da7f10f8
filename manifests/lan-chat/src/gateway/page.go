package main

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page is part of the program
	"encoding/base64"
	"html"
	"net/http"
	"strings"

	"lanchat/version"
)

//go:embed web/index.html
var pageHTML string

//go:embed web/style.css
var pageCSS string

//go:embed web/app.js
var pageJS string

var page, pagePolicy = buildPage()

// buildPage puts script and style into the page: one answer holds all of it, so that no part can come from another
// release. The policy allows exactly these two.
func buildPage() ([]byte, string) {
	var out bytes.Buffer
	_, _ = strings.NewReplacer(
		"/*style*/", pageCSS, "/*script*/", pageJS, "{{version}}", html.EscapeString(version.Version),
	).WriteString(&out, pageHTML)
	policy := "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; " +
		"frame-ancestors 'none'; style-src '" + hashOf(pageCSS) + "'; script-src '" + hashOf(pageJS) + "'"
	return out.Bytes(), policy
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

func servePage(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		fail(w, http.StatusNotFound, "nothing is here")
		return
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Cache-Control", "no-cache")
	header.Set("Content-Security-Policy", pagePolicy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	_, _ = w.Write(page)
}
