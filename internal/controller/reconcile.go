// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/fleetview"
	"github.com/drydock-os/drydock/internal/plan"
)

const (
	// parallelWrites bounds the writes under way at once, when many nodes move together.
	parallelWrites = 16
	// listPage is how many objects one request of a live list returns.
	listPage = 500
	// longestWait bounds the time to the next look: a wake-up far off may be moved by a clock that is set.
	longestWait = time.Hour
	// hangTimeout is when a look at the fleet is taken to hang; its writes are bounded far below.
	hangTimeout = 5 * time.Minute
)

// reconciler looks at the fleet, one look at a time.
type reconciler struct {
	cfg    Config
	client client.Client // writes
	live   client.Reader // reads from the server
	events teller
	// heldUntil is when writes must be over; see lease.
	heldUntil func() time.Time
	ledger    *ledger
	counters  *counters
	gate      gate
	// told is the refusal that each node was last told of; nil before the first look.
	told map[string]refusal
	// decision is the last one, for the metrics.
	decision atomic.Pointer[plan.Decision]

	mirror *mirror
	synced []<-chan struct{} // closed once the mirror has what there was at the start
	// uncertain is whether something may have been written that the mirror does not know: by the previous holder of
	// the Lease, or by an own write whose answer was lost.
	uncertain bool
	mark      mark
	// open are moves of which it is not known whether they were written.
	open []openMove
	// busySince is when the present look began, in Unix nanoseconds; 0 between looks.
	busySince atomic.Int64
}

func newReconciler(cfg Config, writer client.Client, live client.Reader, events teller, mirror *mirror, ledger *ledger, heldUntil func() time.Time) *reconciler {
	return &reconciler{
		cfg: cfg, client: writer, live: live, events: events, heldUntil: heldUntil,
		counters:  newCounters(),
		gate:      gate{schedule: cfg.Schedule},
		mirror:    mirror,
		ledger:    ledger,
		uncertain: true,
	}
}

// Reconcile looks at the fleet and carries out what the plan decides.
func (r *reconciler) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	r.busySince.Store(r.cfg.Now().UnixNano())
	defer r.busySince.Store(0)
	for _, synced := range r.synced {
		select {
		case <-synced:
		case <-ctx.Done():
			return reconcile.Result{}, nil
		}
	}
	if wait, err := r.catchUp(ctx); wait > 0 || err != nil {
		return reconcile.Result{RequeueAfter: wait}, err
	}
	began := r.cfg.Now()
	shadows, snapshot, err := r.look(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	now := r.cfg.Now()
	r.announceOpen(shadows)
	r.announceInherited(now)
	snapshot.Window = r.gate.at(now, slices.ContainsFunc(snapshot.Shadows, plan.Shadow.Busy))
	d := plan.Next(snapshot, now)
	r.counters.decisions.Observe(r.cfg.Now().Sub(began).Seconds())
	r.gate.saw(d)
	r.decision.Store(&d)
	r.refuse(shadows, &d)
	if err := errors.Join(r.move(ctx, shadows, d.Moves), r.remove(ctx, shadows, d.Removals)); err != nil {
		return reconcile.Result{}, err
	}
	if d.NextWake.IsZero() {
		return reconcile.Result{}, nil
	}
	return reconcile.Result{RequeueAfter: min(d.NextWake.Sub(now), longestWait)}, nil
}

// hanging is an error when the present look began too long ago.
func (r *reconciler) hanging() error {
	since := r.busySince.Load()
	if since == 0 {
		return nil
	}
	if d := r.cfg.Now().Sub(time.Unix(0, since)); d > hangTimeout {
		return fmt.Errorf("looking at the fleet has taken %v so far", d.Round(time.Second))
	}
	return nil
}

// look returns the newest known shadows by the name of their node, and the fleet as the plan sees it.
func (r *reconciler) look(ctx context.Context) (map[string]*v2.BottlerocketShadow, plan.Snapshot, error) {
	if unseen := r.mirror.unseen(); len(unseen) > 0 { // too new for the watch, or deleted
		there, err := r.readAll(ctx)
		if err != nil {
			return nil, plan.Snapshot{}, err
		}
		for _, brs := range unseen {
			if !there[brs.Name] {
				r.mirror.drop(brs.Name)
			}
		}
	}
	s := r.cfg.Snapshot(r.cfg.Now())
	return r.mirror.fill(&s), s, nil
}

// move writes the decided specs. One that fails does not hold up the others.
func (r *reconciler) move(ctx context.Context, shadows map[string]*v2.BottlerocketShadow, moves []plan.Move) error {
	errs := make([]error, len(moves))
	entries := make([]*entry, len(moves))
	var g errgroup.Group
	g.SetLimit(parallelWrites)
	for i, m := range moves {
		entries[i] = r.ledger.begin()
		g.Go(func() error {
			errs[i] = r.write(ctx, shadows[m.Node], m, entries[i])
			return nil
		})
	}
	_ = g.Wait() // the errors are in errs
	for i, err := range errs {
		switch {
		case err == nil:
		case refused(err):
			r.ledger.close(entries[i])
		default:
			r.uncertain, r.open = true, append(r.open, openMove{moves[i], entries[i]})
		}
	}
	return errors.Join(errs...)
}

// openMove is a move of which it is not known whether it was written, and its entry in the ledger.
type openMove struct {
	plan.Move
	entry *entry
}

// write carries out one move. A decision that was overtaken is no error: the change that overtook it is on
// its way through the watch and leads to the next look. Without an error the entry is closed, sooner or later.
func (r *reconciler) write(ctx context.Context, brs *v2.BottlerocketShadow, m plan.Move, e *entry) error {
	body, err := specPatch(brs, m)
	if err != nil {
		return fmt.Errorf("encoding spec of node %s: %w", m.Node, err)
	}
	if ctx.Err() != nil {
		r.ledger.close(e)
		return nil // stopping: whoever leads next decides anew
	}
	// A write that has begun is finished, so that its outcome is known before the Lease is given back.
	ctx, cancel, err := r.writing(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	defer cancel()
	written := &v2.BottlerocketShadow{}
	written.Name, written.Namespace = brs.Name, brs.Namespace
	err = r.client.Patch(ctx, written, client.RawPatch(types.MergePatchType, body), client.FieldOwner(Name))
	switch {
	case apierrors.IsConflict(err) || apierrors.IsNotFound(err):
		r.cfg.Log.Debug("move overtaken", "node", m.Node, "to", m.To)
		r.ledger.close(e)
		return nil
	case err != nil:
		return fmt.Errorf("moving node %s to %s: %w", m.Node, m.To, err)
	}
	written.ManagedFields = nil
	r.mirror.put(written)
	r.counters.count(brs, m, r.cfg.Now())
	r.cfg.Log.Info("node moved", "node", m.Node, "from", short(m.From), "to", m.To, "version", short(m.Spec.Version), "reason", m.Reason)
	r.announce(brs, m, e)
	return nil
}

// errNotHeld means that the Lease was renewed so long ago that another replica may lead before a write is over.
var errNotHeld = errors.New("the Lease was not renewed in time")

// writing bounds a write to the time for which this replica surely leads.
func (r *reconciler) writing(ctx context.Context) (context.Context, context.CancelFunc, error) {
	left := r.heldUntil().Sub(r.cfg.Now())
	if left <= 0 {
		return nil, nil, errNotHeld
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	return ctx, cancel, nil
}

// refused is whether err is an answer that says that nothing was written. Anything else, such as a lost
// connection or a timeout, leaves that open.
func refused(err error) bool {
	return errors.Is(err, errNotHeld) || apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) ||
		apierrors.IsBadRequest(err) || apierrors.IsTooManyRequests(err)
}

// specPatch is the merge patch of a whole spec. Fields without a value are there as nulls, which remove them;
// the resource version makes the server refuse the patch when the object has changed since.
func specPatch(brs *v2.BottlerocketShadow, m plan.Move) ([]byte, error) {
	type spec struct {
		State   plan.State `json:"state"`
		Since   *string    `json:"state_transition_timestamp"`
		Version *string    `json:"version"`
	}
	metadata := map[string]any{"resourceVersion": brs.ResourceVersion}
	if mark := fleetview.TimedOutMark(m.TimedOut); mark != brs.Annotations[v2.TimedOutAnnotation] {
		metadata["annotations"] = map[string]*string{v2.TimedOutAnnotation: orNull(mark)}
	}
	return json.Marshal(map[string]any{
		"apiVersion": v2.GroupVersion.String(),
		"kind":       "BottlerocketShadow",
		"metadata":   metadata,
		"spec":       spec{State: m.Spec.State, Since: orNull(m.Spec.Since), Version: orNull(m.Spec.Version)},
	})
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
