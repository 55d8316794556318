// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package auth decides whether a request comes from the agent of the node it names.
//
// The proof is a projected service account token, bound to the agent's pod. A request is accepted only if
// the Kubernetes API server calls the token valid for our audience, its user is the agents' service account
// in our namespace, the pod it is bound to exists now (same name, same UID, the agents' label) and runs on
// the node that the request names. So an agent can act on its own node only, and nobody else on any.
package auth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/agentapi"
)

const (
	// positiveTTL is how long a token stays accepted without asking again, at most until it expires. Every
	// request is compared with the watched pod all the same, so that a pod that is deleted, replaced or on
	// another node ends it at once; what takes a minute to be noticed is a deleted service account.
	positiveTTL = time.Minute
	// reviewTimeout bounds the requests behind one decision.
	reviewTimeout = 10 * time.Second
	// maxToken is far above the 1-2 KiB of a projected token, and far below what would hurt.
	maxToken = 16 << 10
	// maxCached bounds the cache; expired entries leave first.
	maxCached = 20000

	// AgentComponent is the value of the component label on the agents' pods.
	AgentComponent = "agent"
)

// Keys that Kubernetes sets in the extra of a user who came with a bound token.
const (
	extraPodName  = "authentication.kubernetes.io/pod-name"
	extraPodUID   = "authentication.kubernetes.io/pod-uid"
	extraNodeName = "authentication.kubernetes.io/node-name"
	extraNodeUID  = "authentication.kubernetes.io/node-uid"
)

// Error is a refusal, or the inability to decide.
type Error struct {
	// Code is the HTTP status: 400, 401, 403, or 503 when nothing could be decided.
	Code int
	// Reason is for people; it never holds the token.
	Reason string
}

func (e *Error) Error() string { return e.Reason }

// Kube is what an Authenticator needs to know of the cluster.
type Kube interface {
	// CachedPod returns the agent pod of that name in the operator's namespace from a watch, nil if unknown.
	CachedPod(ctx context.Context, name string) (*corev1.Pod, error)
	// LivePod asks the Kubernetes API server for the same.
	LivePod(ctx context.Context, name string) (*corev1.Pod, error)
	// NodeUID asks the Kubernetes API server for the UID of a node.
	NodeUID(ctx context.Context, name string) (string, error)
}

// Config holds everything an Authenticator needs. Fields are required unless they name a default.
type Config struct {
	Reviews   authenticationclient.TokenReviewInterface
	Kube      Kube
	Namespace string
	Now       func() time.Time // default time.Now
	Log       *slog.Logger     // default: discard
}

// Request is what a request claims.
type Request struct {
	NodeName string
	NodeUID  string // optional
	Token    string
}

// Identity is what was proven.
type Identity struct {
	NodeName string
	// NodeUID is the node's UID where the token or the request told it, else "".
	NodeUID         string
	PodName, PodUID string
}

// Authenticator decides on requests. It may be used by several goroutines at once.
type Authenticator struct {
	cfg    Config
	user   string
	flight singleflight.Group

	mu    sync.Mutex
	cache map[[sha256.Size]byte]accepted
}

// accepted is a token that was found good, without the checks that change from request to request.
type accepted struct {
	claims  claims
	expires time.Time
}

// claims is what the Kubernetes API server says of a token.
type claims struct {
	podName, podUID, nodeName, nodeUID string
	// notAfter is when the token expires; zero if it does not tell.
	notAfter time.Time
}

// New checks cfg.
func New(cfg Config) (*Authenticator, error) {
	if cfg.Reviews == nil || cfg.Kube == nil || cfg.Namespace == "" {
		return nil, errors.New("authenticator needs Reviews, Kube and Namespace")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Authenticator{
		cfg:   cfg,
		user:  "system:serviceaccount:" + cfg.Namespace + ":" + agentapi.AgentServiceAccount,
		cache: map[[sha256.Size]byte]accepted{},
	}, nil
}

// Authenticate returns who sent r, or an *Error.
func (a *Authenticator) Authenticate(ctx context.Context, r Request) (Identity, error) {
	switch {
	case r.NodeName == "":
		return Identity{}, &Error{http.StatusBadRequest, "header " + agentapi.HeaderNodeName + " is missing"}
	case r.Token == "":
		return Identity{}, &Error{http.StatusUnauthorized, "header " + agentapi.HeaderToken + " is missing"}
	case len(r.Token) > maxToken:
		return Identity{}, &Error{http.StatusUnauthorized, "the token is too long"}
	}
	key := sha256.Sum256([]byte(r.Token))
	c, ok := a.cached(key)
	if !ok {
		// Many requests with one token (an agent that reconnects) cost one review. The review outlives the
		// request that began it, so that a caller who leaves does not fail the others.
		result, err, _ := a.flight.Do(string(key[:]), func() (any, error) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reviewTimeout)
			defer cancel()
			return a.review(ctx, r.Token)
		})
		if err != nil {
			return Identity{}, err
		}
		c = result.(claims)
	}
	id, err := a.check(ctx, c, r)
	if err != nil {
		a.forget(key)
		return Identity{}, err
	}
	if !ok {
		a.remember(key, c)
	}
	return id, nil
}

// StillThere reports whether the pod behind id exists: what ends a long stream.
func (a *Authenticator) StillThere(ctx context.Context, id Identity) bool {
	pod, err := a.cfg.Kube.CachedPod(ctx, id.PodName)
	return err == nil && pod != nil && string(pod.UID) == id.PodUID && pod.DeletionTimestamp == nil
}

// review asks the Kubernetes API server about the token itself.
func (a *Authenticator) review(ctx context.Context, token string) (claims, error) {
	tr, err := a.cfg.Reviews.Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{agentapi.Audience}},
	}, metav1.CreateOptions{})
	if err != nil {
		return claims{}, &Error{http.StatusServiceUnavailable, fmt.Sprintf("reviewing the token: %v", err)}
	}
	s := tr.Status
	switch {
	case !s.Authenticated:
		// s.Error may repeat parts of a malformed token; it goes to the log only.
		a.cfg.Log.Debug("token refused", "reason", s.Error)
		return claims{}, &Error{http.StatusUnauthorized, "the token is invalid, expired, not for audience " + agentapi.Audience + ", or its pod is gone"}
	case !slices.Contains(s.Audiences, agentapi.Audience):
		return claims{}, &Error{http.StatusForbidden, "the token is not for audience " + agentapi.Audience}
	case s.User.Username != a.user:
		return claims{}, &Error{http.StatusForbidden, "the token is of " + s.User.Username + ", not of " + a.user}
	}
	c := claims{
		podName:  only(s.User.Extra[extraPodName]),
		podUID:   only(s.User.Extra[extraPodUID]),
		nodeName: only(s.User.Extra[extraNodeName]),
		nodeUID:  only(s.User.Extra[extraNodeUID]),
		notAfter: expiry(token),
	}
	if c.podName == "" || c.podUID == "" {
		return claims{}, &Error{http.StatusForbidden, "the token is not bound to a pod"}
	}
	return c, nil
}

// check compares the token's claims with the pod as it is now and with what the request says.
func (a *Authenticator) check(ctx context.Context, c claims, r Request) (Identity, error) {
	pod, err := a.cfg.Kube.CachedPod(ctx, c.podName)
	if err == nil && (pod == nil || string(pod.UID) != c.podUID || pod.Spec.NodeName == "") {
		// The watch may be a moment behind a pod that has just started.
		pod, err = a.cfg.Kube.LivePod(ctx, c.podName)
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return Identity{}, &Error{http.StatusServiceUnavailable, fmt.Sprintf("looking up pod %s: %v", c.podName, err)}
	}
	refuse := func(format string, args ...any) (Identity, error) {
		return Identity{}, &Error{http.StatusForbidden, fmt.Sprintf(format, args...)}
	}
	switch {
	case err != nil || pod == nil:
		return refuse("pod %s/%s does not exist", a.cfg.Namespace, c.podName)
	case string(pod.UID) != c.podUID:
		return refuse("the token is of another pod named %s/%s", a.cfg.Namespace, c.podName)
	case pod.Labels[v2.ComponentLabel] != AgentComponent:
		return refuse("pod %s/%s is not an agent", a.cfg.Namespace, c.podName)
	case pod.DeletionTimestamp != nil:
		return refuse("pod %s/%s is being deleted", a.cfg.Namespace, c.podName)
	case pod.Spec.NodeName != r.NodeName:
		return refuse("pod %s/%s does not run on node %q", a.cfg.Namespace, c.podName, r.NodeName)
	case c.nodeName != "" && c.nodeName != r.NodeName:
		return refuse("the token is bound to a node other than %q", r.NodeName)
	}
	uid := c.nodeUID
	if uid == "" && r.NodeUID != "" {
		if uid, err = a.cfg.Kube.NodeUID(ctx, r.NodeName); apierrors.IsNotFound(err) {
			return refuse("node %q does not exist", r.NodeName)
		} else if err != nil {
			return Identity{}, &Error{http.StatusServiceUnavailable, fmt.Sprintf("looking up node %s: %v", r.NodeName, err)}
		}
	}
	if r.NodeUID != "" && r.NodeUID != uid {
		return refuse("node %q has another UID", r.NodeName)
	}
	return Identity{NodeName: r.NodeName, NodeUID: uid, PodName: c.podName, PodUID: c.podUID}, nil
}

func (a *Authenticator) cached(key [sha256.Size]byte) (claims, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e, ok := a.cache[key]
	if !ok || !a.cfg.Now().Before(e.expires) {
		return claims{}, false
	}
	return e.claims, true
}

func (a *Authenticator) remember(key [sha256.Size]byte, c claims) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.cfg.Now()
	if len(a.cache) >= maxCached {
		for k, e := range a.cache {
			if !now.Before(e.expires) {
				delete(a.cache, k)
			}
		}
		if len(a.cache) >= maxCached {
			return
		}
	}
	e := accepted{claims: c, expires: now.Add(positiveTTL)}
	if !c.notAfter.IsZero() && c.notAfter.Before(e.expires) {
		e.expires = c.notAfter
	}
	a.cache[key] = e
}

func (a *Authenticator) forget(key [sha256.Size]byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.cache, key)
}

// expiry returns when a token expires. It reads without verifying: ask only about tokens found good.
func expiry(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}
	}
	var c struct {
		Exp int64 `json:"exp"` // RFC 7519, seconds since 1970
	}
	if json.Unmarshal(payload, &c) != nil || c.Exp <= 0 {
		return time.Time{}
	}
	return time.Unix(c.Exp, 0)
}

// only returns the value of an extra that holds exactly one.
func only(values authenticationv1.ExtraValue) string {
	if len(values) != 1 {
		return ""
	}
	return values[0]
}
