// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package kubelet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Port is where a kubelet answers, as everywhere.
const Port = 10250

// Serving lets the API server ask the kubelet for logs. As on a real node, who asks shows a certificate of the cluster's
// authority, and the API server is asked whether its owner may.
type Serving struct {
	Certificate tls.Certificate // for the address of the node
	ClientCAs   *x509.CertPool
}

// serve answers until ctx ends.
func (k *Kubelet) serve(ctx context.Context) error {
	address := net.JoinHostPort(k.cfg.NodeIP.String(), strconv.Itoa(Port))
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("opening the kubelet's port: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) })
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", k.containerLogs)
	s := &http.Server{
		Handler: k.allowed(mux), ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{k.cfg.Serving.Certificate},
			ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: k.cfg.Serving.ClientCAs,
		},
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() }) // a power cut asks nobody
	defer stop()
	if err := s.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving logs: %w", err)
	}
	return nil
}

// allowed lets through who has proven who they are, and may do what they ask.
func (k *Kubelet) allowed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) == 0 {
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		who := r.TLS.PeerCertificates[0].Subject
		review, err := k.client.AuthorizationV1().SubjectAccessReviews().Create(r.Context(), &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{
				User: who.CommonName, Groups: append(slices.Clone(who.Organization), "system:authenticated"),
				ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Version: "v1", Resource: "nodes", Subresource: "proxy", Name: k.cfg.NodeName},
			},
		}, metav1.CreateOptions{})
		switch {
		case err != nil:
			http.Error(w, "asking for the rights of "+who.CommonName+": "+err.Error(), http.StatusInternalServerError)
		case !review.Status.Allowed:
			http.Error(w, fmt.Sprintf("Forbidden (user=%s, verb=get, resource=nodes, subresource=proxy)", who.CommonName), http.StatusForbidden)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// containerLogs answers with what a container has printed.
func (k *Kubelet) containerLogs(w http.ResponseWriter, r *http.Request) {
	namespace, pod, name := r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container")
	o, err := logOptionsOf(r.URL.Query(), time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	c := k.container(namespace, pod, name)
	if c == nil {
		http.Error(w, fmt.Sprintf("container %q of pod %q in namespace %q is not on this node", name, pod, namespace), http.StatusNotFound)
		return
	}
	log, err := c.logOf(o.previous)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	case log == nil && o.previous:
		http.Error(w, fmt.Sprintf("previous terminated container %q in pod %q not found", name, pod), http.StatusBadRequest)
		return
	case log == nil && c.image != "":
		http.Error(w, fmt.Sprintf("container %q in pod %q is waiting to start", name, pod), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	if log == nil {
		fmt.Fprintf(w, "lab: no directory is known for the image %s, so this container only counts as running; 'lab up --image %s=DIR' names one\n", c.spec.Image, c.spec.Image)
		return
	}
	control := http.NewResponseController(w)
	if err := log.copyTo(r.Context(), w, func() { _ = control.Flush() }, o); err != nil {
		k.log.Warn("log not read", "pod", pod, "container", name, "error", err)
	}
}

// container finds a container by its names; nil if there is none.
func (k *Kubelet) container(namespace, pod, name string) *container {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, w := range k.workers {
		if w.key.Namespace != namespace || w.key.Name != pod {
			continue
		}
		for _, c := range slices.Concat(w.inits, w.mains) {
			if c.spec.Name == name {
				return c
			}
		}
	}
	return nil
}

// logOptionsOf reads the parameters of a real kubelet.
func logOptionsOf(q url.Values, now time.Time) (logOptions, error) {
	o := logOptions{
		follow: q.Get("follow") == "true", previous: q.Get("previous") == "true", timestamps: q.Get("timestamps") == "true",
		tail: -1, limit: -1,
	}
	number := func(name string, set func(int64)) error {
		text := q.Get(name)
		if text == "" {
			return nil
		}
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || n < 0 {
			return fmt.Errorf("%s is %q, but may only be a whole number from 0", name, text)
		}
		set(n)
		return nil
	}
	err := errors.Join(
		number("tailLines", func(n int64) { o.tail = int(n) }),
		number("limitBytes", func(n int64) { o.limit = n }),
		number("sinceSeconds", func(n int64) { o.since = now.Add(-time.Duration(n) * time.Second) }),
	)
	if text := q.Get("sinceTime"); text != "" {
		at, parseErr := time.Parse(time.RFC3339, text)
		o.since, err = at, errors.Join(err, parseErr)
	}
	return o, err
}
