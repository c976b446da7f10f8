package serve

import (
	"bufio"
	"errors"
	"net"
	"net/http"
)

// recorder remembers the code of an answer, and lets WebSockets take the connection over.
type recorder struct {
	http.ResponseWriter
	code     int
	hijacked bool
}

func (r *recorder) WriteHeader(code int) {
	r.code = code
	r.ResponseWriter.WriteHeader(code)
}

func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	hijacker, ok := r.ResponseWriter.(http.Hijacker)
	if !ok {
		return nil, nil, errors.New("connection can't be taken over")
	}
	r.hijacked, r.code = true, http.StatusSwitchingProtocols
	return hijacker.Hijack()
}
