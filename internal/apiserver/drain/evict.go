// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package drain

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

const (
	pauseMin = 250 * time.Millisecond
	pauseMax = 5 * time.Second
	// retryAfterMax bounds how long a server may send us away.
	retryAfterMax = 10 * time.Second
	// evictTimeout bounds one eviction request. It is not a part of the pod's grace period: the request is
	// answered as soon as the deletion has begun.
	evictTimeout = 30 * time.Second
)

// outcome is what became of one eviction request.
type outcome int

const (
	leaving outcome = iota // accepted, or the namespace is being deleted: the watch will tell
	gone                   // no such pod any more
	blocked                // refused for now: a disruption budget, or an overloaded server
	refused                // refused for good
)

// verdict is the answer to one eviction request.
type verdict struct {
	outcome outcome
	// reason names what blocks or refuses.
	reason string
	// budget is the disruption budget that blocks, "" if it is something else.
	budget string
	// after is the pause the server asked for, 0 if none.
	after time.Duration
}

// evict asks for the eviction of exactly this pod, not of another one that has taken its name. The request
// is sent once: client-go's own repetition of 429 would hide the blocking budget for up to a hundred seconds.
func evict(ctx context.Context, client rest.Interface, pod *corev1.Pod) verdict {
	ctx, cancel := context.WithTimeout(ctx, evictTimeout)
	defer cancel()
	eviction := &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
		DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &pod.UID}},
	}
	err := client.Post().AbsPath("/api/v1").Namespace(pod.Namespace).Resource("pods").Name(pod.Name).
		SubResource("eviction").MaxRetries(0).Body(eviction).Do(ctx).Error()
	return judge(err)
}

// remove deletes exactly this pod, with the grace period that it asks for. No budget is asked.
func remove(ctx context.Context, client rest.Interface, pod *corev1.Pod) verdict {
	ctx, cancel := context.WithTimeout(ctx, evictTimeout)
	defer cancel()
	options := &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &pod.UID}}
	err := client.Delete().AbsPath("/api/v1").Namespace(pod.Namespace).Resource("pods").Name(pod.Name).
		MaxRetries(0).Body(options).Do(ctx).Error()
	return judge(err)
}

// judge maps the answer to an eviction request.
func judge(err error) verdict {
	status, isStatus := errors.AsType[*apierrors.StatusError](err)
	switch {
	case err == nil:
		return verdict{outcome: leaving}
	case apierrors.IsNotFound(err):
		return verdict{outcome: gone}
	case apierrors.IsConflict(err): // our UID precondition: the name belongs to another pod now
		return verdict{outcome: gone}
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return verdict{outcome: leaving, reason: "its namespace is being deleted"}
	case !isStatus: // the request did not get through
		return verdict{outcome: blocked, reason: err.Error()}
	}
	v := verdict{outcome: refused}
	v.reason, v.budget = reason(status)
	switch code := status.ErrStatus.Code; {
	case code == http.StatusTooManyRequests:
		v.outcome = blocked
		if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
			v.after = min(time.Duration(seconds)*time.Second, retryAfterMax)
		}
	case code >= 500, code == http.StatusRequestTimeout:
		v.outcome = blocked
	}
	return v
}

// reason prefers the causes, which name the disruption budget, over the general message.
func reason(err *apierrors.StatusError) (text, budget string) {
	if err.ErrStatus.Details != nil {
		var causes []string
		for _, c := range err.ErrStatus.Details.Causes {
			if c.Type == policyv1.DisruptionBudgetCause {
				causes = append(causes, c.Message)
			}
		}
		if len(causes) > 0 {
			text = strings.Join(causes, "; ")
			// The API has no field for it: "The disruption budget web needs 2 healthy pods and has 2 currently".
			if rest, ok := strings.CutPrefix(causes[0], "The disruption budget "); ok {
				budget, _, _ = strings.Cut(rest, " ")
			}
			return text, budget
		}
	}
	return fmt.Sprintf("%s (%d)", err.ErrStatus.Message, err.ErrStatus.Code), ""
}

// pause returns how long to wait after the given number of refusals in a row.
func (c *Config) pause(v verdict, refusals int, random func() float64) time.Duration {
	if v.after > 0 {
		return v.after
	}
	d := min(c.PauseMin<<min(refusals-1, 10), c.PauseMax)
	if random == nil {
		random = rand.Float64
	}
	return d - d/4 + time.Duration(random()*float64(d/2)) // a quarter around d, so that many pods spread out
}
