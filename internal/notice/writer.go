// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package notice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	// parallel is how many notices are written at once: a whole fleet may have something to tell.
	parallel = 4
	// queued is how many wait to be written; beyond that, notices are lost.
	queued = 16 << 10
	// tries, firstPause and its doubles bound how long a server that does not answer is tried: half a minute.
	tries      = 6
	firstPause = time.Second
	// writeTimeout bounds one request.
	writeTimeout = 10 * time.Second
	// flushTimeout is what is left for the notices of a process that ends.
	flushTimeout = 3 * time.Second
	// counts is how often an event is counted anew that somebody else counts at the same time.
	counts = 5
)

// maxInstance is the most bytes that the API takes as a reporting instance.
const maxInstance = 128

// Config holds everything a Writer needs. Fields are required unless they name a default.
type Config struct {
	// Events returns the events API of a namespace.
	Events func(namespace string) Sink
	// Reporter is the name of the program.
	Reporter string
	// Instance names the process. Default: the reporter and the host name, which is that of the pod.
	Instance string
	Log      *slog.Logger     // default: discard
	Now      func() time.Time // default: time.Now
}

// Writer writes notices in the background.
type Writer struct {
	cfg   Config
	queue chan told
}

// told is a notice and when it was told.
type told struct {
	notice Notice
	at     time.Time
}

// NewWriter checks cfg and starts nothing.
func NewWriter(cfg Config) (*Writer, error) {
	if cfg.Events == nil || cfg.Reporter == "" {
		return nil, errors.New("a writer of notices needs Events and Reporter")
	}
	if cfg.Instance == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("naming this process in events: %w", err)
		}
		cfg.Instance = cfg.Reporter + "-" + host
	}
	cfg.Instance = cfg.Instance[:min(len(cfg.Instance), maxInstance)]
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Writer{cfg: cfg, queue: make(chan told, queued)}, nil
}

// Tell has a notice written. It never blocks; what cannot be told is logged.
func (w *Writer) Tell(n Notice) {
	at := n.At
	if at.IsZero() {
		at = w.cfg.Now()
	}
	select {
	case w.queue <- told{n, at}:
	default:
		w.cfg.Log.Warn("event lost: too many wait to be written", "node", n.Node, "reason", n.Reason, "note", n.Note)
		n.written()
	}
}

// Run writes notices until ctx ends, and then for a moment those that still wait.
func (w *Writer) Run(ctx context.Context) {
	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(flushTimeout, cancel) })
	defer stop()
	var workers sync.WaitGroup
	for range parallel {
		workers.Go(func() { w.work(ctx, last) })
	}
	workers.Wait()
}

// work writes notices; after the end of ctx, until none waits or last ends.
func (w *Writer) work(ctx, last context.Context) {
	for last.Err() == nil {
		select {
		case t := <-w.queue:
			w.write(last, t)
			continue
		default:
		}
		if ctx.Err() != nil {
			return
		}
		select {
		case t := <-w.queue:
			w.write(last, t)
		case <-ctx.Done():
		}
	}
}

// write writes the events of a notice.
func (w *Writer) write(ctx context.Context, t told) {
	for _, e := range t.notice.events(w.cfg.Reporter, w.cfg.Instance, t.at) {
		if err := w.insist(ctx, e, t.notice.Known); err != nil {
			w.cfg.Log.Warn("event not written", "about", e.Regarding.Kind+" "+e.Regarding.Name, "reason", e.Reason, "note", e.Note, "error", err)
		}
	}
	if ctx.Err() == nil {
		t.notice.written()
	}
}

func (n *Notice) written() {
	if n.Written != nil {
		n.Written()
	}
}

// insist writes an event, and tries again while there is hope.
func (w *Writer) insist(ctx context.Context, e *eventsv1.Event, known bool) error {
	pause := firstPause
	for try := 1; ; try++ {
		err := w.put(ctx, e, known)
		if err == nil || refused(err) || try == tries {
			return err
		}
		known = true // it may have been written, and only the answer be lost
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
		pause *= 2
	}
}

// refused is whether the same request will not fare better.
func refused(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsNotFound(err)
}

// put makes an event, or counts it in the one that is there, unless that is known.
func (w *Writer) put(ctx context.Context, e *eventsv1.Event, known bool) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	api := w.cfg.Events(e.Namespace)
	var err error
	for range counts {
		if _, err = api.Create(ctx, e, metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
			return err
		}
		if known {
			return nil
		}
		if err = count(ctx, api, e); !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return err
}

// count counts an event in the one of the same name. The answer is a conflict if somebody else does so at the same
// time, and not found if it has just expired.
func count(ctx context.Context, api Sink, e *eventsv1.Event) error {
	// A patch without a change writes nothing and shows the object.
	present, err := api.Patch(ctx, e.Name, types.MergePatchType, []byte("{}"), metav1.PatchOptions{})
	if err != nil {
		return err
	}
	series := eventsv1.EventSeries{Count: 2, LastObservedTime: e.EventTime}
	if s := present.Series; s != nil {
		series.Count = s.Count + 1
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]string{"resourceVersion": present.ResourceVersion},
		"series":   series,
	})
	if err != nil {
		return fmt.Errorf("encoding the count: %w", err)
	}
	_, err = api.Patch(ctx, e.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}
