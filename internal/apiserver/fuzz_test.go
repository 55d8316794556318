// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiserver

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/agentapi"
)

// request is one request as bytes; false if it is not one request of HTTP/1.1: what such bytes get is the matter of
// net/http.
func request(method, path, node, uid, token, contentType string, body []byte) ([]byte, bool) {
	for _, part := range []string{method, path, node, uid, token, contentType} {
		if strings.ContainsAny(part, "\r\n") {
			return nil, false
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", method, path)
	for _, h := range [][2]string{{agentapi.HeaderNodeName, node}, {agentapi.HeaderNodeUID, uid}, {agentapi.HeaderToken, token}, {"Content-Type", contentType}} {
		if h[1] != "" {
			fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
		}
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n", len(body))
	b.Write(body)
	_, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b.Bytes())))
	return b.Bytes(), err == nil
}

// answerTo sends bytes and returns the code of the answer. No answer is a panic of a handler, which net/http turns into a
// closed connection.
func (r *replica) answerTo(method string, request []byte) (int, error) {
	conn, err := tls.Dial("tcp", r.address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return 0, err
	}
	written := make(chan error, 1)
	go func() {
		_, err := conn.Write(request)
		written <- err
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return 0, errors.Join(err, conn.Close(), <-written)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/x-ndjson" { // a stream has no end
		_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 8<<20))
	}
	conn.Close()
	<-written // fails where the server has answered before it had read all
	return resp.StatusCode, err
}

// Whoever sends whatever to any endpoint gets an answer that blames the request and not the server, and nothing but the
// sender's own node is ever touched.
func FuzzAPI(f *testing.F) {
	fx := newFixture(f)
	own, other := fx.node("own").Name, fx.node("other").Name
	r := fx.serve(func(c *Config) { c.Log = slog.New(slog.DiscardHandler) })
	good := fx.token(fx.daemonOf(own), agentapi.Audience)
	if err := r.connect(other, fx.token(fx.daemonOf(other), agentapi.Audience)).Create(f.Context()); err != nil {
		f.Fatal(err)
	}

	status := []byte(`{"current_version":"1.20.0","target_version":"1.20.1","current_state":"Idle","crash_count":0,"state_transition_failure_timestamp":null}`)
	review := []byte(`{"apiVersion":"apiextensions.k8s.io/v1","kind":"ConversionReview","request":{"uid":"u","desiredAPIVersion":"brupop.bottlerocket.aws/v1","objects":[{"apiVersion":"brupop.bottlerocket.aws/v2","kind":"BottlerocketShadow","metadata":{"name":"brs-x"},"spec":{"state":"Idle"}}]}}`)
	paths := []string{
		agentapi.PathResource, agentapi.PathWatch, agentapi.PathDrain, agentapi.PathUncordon, agentapi.PathExcludeFromLB, agentapi.PathRemoveExclusion,
		agentapi.PathPing, pathReady, pathConvert, "/metrics", "/", "//", "/%2e%2e/ping", agentapi.PathResource + "/", agentapi.PathDrain + "?node=" + other, "*", "/crdconvert/",
	}
	for _, path := range paths {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "BREW"} {
			f.Add(method, path, "OWN", "", "GOOD", "application/json", status)
		}
		f.Add("POST", path, "OTHER", "", "GOOD", "application/json", review)
		f.Add("POST", path, "OWN", "another", "GOOD", "", []byte(nil))
		f.Add("POST", path, "", "", "", "", []byte(nil))
		f.Add("POST", path, "OWN", "", "a.b.c", "text/plain", []byte("{"))
	}
	for _, node := range []string{"../" + other, "OTHER,OWN", "\xff", "OWN\x00", strings.Repeat("n", 300), "OWN OTHER"} {
		f.Add("POST", agentapi.PathUncordon, node, "", "GOOD", "", []byte(nil))
	}
	for _, token := range []string{"Bearer GOOD", "GOOD GOOD", "\xff\xfe", "..", strings.Repeat("t", 20<<10), `{"a":1}`} {
		f.Add("POST", agentapi.PathUncordon, "OWN", "", token, "", []byte(nil))
	}
	for _, body := range []string{
		"null", "[]", `""`, `{}`, "\xff", strings.Repeat("[", 100_000), strings.Replace(string(status), "1.20.1", strings.Repeat("1", 300)+".0.0", 1),
		strings.Replace(string(status), "}", `,"message":"\u0000\ud800"}`, 1), strings.Replace(string(status), "null", `"yesterday"`, 1),
		strings.Replace(string(status), "}", `,"slot":"`+strings.Repeat("s", 1<<20)+`"}`, 1), strings.Replace(string(status), "}", `,"held_update":{"until":"x"},"update_check":null}`, 1),
		strings.Replace(string(review), `"Idle"`, `{"a":[]}`, 1), strings.Replace(string(review), `[{`, `[null,7,"x",{`, 1), strings.Replace(string(review), `"u"`, `null`, 1),
	} {
		f.Add("PUT", agentapi.PathResource, "OWN", "", "GOOD", "application/json", []byte(body))
		f.Add("POST", pathConvert, "", "", "", "application/json", []byte(body))
	}
	f.Add("OPTIONS", "*", "OTHER", "", "", "", []byte(nil))
	f.Add("POST", pathConvert, "", "", "", "application/json", bytes.Repeat([]byte("{\"a\":"), 2<<20/5))
	f.Add("POST", pathConvert, "", "", "", "application/json", bytes.Repeat([]byte(" "), 4<<20+1))
	f.Add("PUT", agentapi.PathResource, "OWN", "", "GOOD", "application/json", bytes.Repeat([]byte("7"), 2<<20+1))

	foreign := func(t *testing.T) string {
		var n corev1.Node
		var brs v2.BottlerocketShadow
		err := errors.Join(fx.client.Get(t.Context(), client.ObjectKey{Name: other}, &n),
			fx.client.Get(t.Context(), client.ObjectKey{Namespace: fx.ns, Name: v2.ShadowName(other)}, &brs))
		if err != nil {
			t.Fatal(err)
		}
		return n.ResourceVersion + " " + brs.ResourceVersion
	}
	names := strings.NewReplacer("OWN", own, "OTHER", other, "GOOD", good)
	f.Fuzz(func(t *testing.T, method, path, node, uid, token, contentType string, body []byte) {
		node, token = names.Replace(node), names.Replace(token)
		text, ok := request(method, path, node, uid, token, contentType, body)
		if !ok {
			t.Skip("no request")
		}
		before := foreign(t)
		r.server.limits.forget(own) // else 429 would be the answer to all
		got, err := r.answerTo(method, text)
		if err != nil {
			t.Fatalf("no answer: %v", err)
		}
		if got >= 500 {
			t.Errorf("%s %q: %d", method, path, got)
		}
		if after := foreign(t); after != before {
			t.Errorf("%s %q as %q changed another node: %s, was %s", method, path, node, after, before)
		}
		if strings.TrimSpace(node) != own && got == http.StatusOK && path != agentapi.PathPing && path != pathReady && path != pathConvert && !strings.ContainsAny(path, "?#:") {
			t.Errorf("%s %q as %q: 200", method, path, node)
		}
	})
}
