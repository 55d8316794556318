// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
)

// A leader must not decide on less than was written before it led, or it would start more nodes than the limit
// allows. Its watch may lag behind that by any time, and so may it lag behind a write of its own whose answer got lost.
// To know that it does not, the leader writes a mark to one shadow and waits until its watch shows it: events come in
// the order of the writes, so what was written before the mark is then known too. That takes one request and no list
// of a fleet that may be large. Only if the watch does not show the mark in time are all shadows read.

// markPatience is how long the watch may take to show the mark.
const markPatience = 2 * time.Second

// mark is a write that the watch has to show.
type mark struct {
	shadow, version string // empty: there is no mark
	written         time.Time
}

// catchUp returns 0 once everything is known that was written before. Else it returns after how long to look again
// if the watch does not show the mark before.
func (r *reconciler) catchUp(ctx context.Context) (time.Duration, error) {
	if !r.uncertain {
		return 0, nil
	}
	if r.mark.shadow == "" {
		if err := r.writeMark(ctx); err != nil {
			return 0, err
		}
	}
	seen := r.mirror.hasShown(r.mark.shadow, r.mark.version)
	if wait := r.mark.written.Add(markPatience).Sub(r.cfg.Now()); !seen && wait > 0 && r.mark.shadow != "" {
		return wait, nil
	}
	if !seen {
		if _, err := r.readAll(ctx); err != nil {
			return 0, err
		}
	}
	r.mirror.await("")
	r.mark, r.uncertain = mark{}, false
	return 0, nil
}

// writeMark marks a shadow. Where the watch shows none, or none that is still there, there is no mark.
func (r *reconciler) writeMark(ctx context.Context) error {
	brs := r.mirror.anyShown()
	if brs == nil {
		return nil
	}
	now := r.cfg.Now()
	body, err := json.Marshal(map[string]any{
		"apiVersion": v2.GroupVersion.String(),
		"kind":       "BottlerocketShadow",
		"metadata":   map[string]any{"annotations": map[string]string{v2.MarkAnnotation: now.UTC().Format(time.RFC3339Nano)}},
	})
	if err != nil {
		return fmt.Errorf("encoding the mark of shadow %s: %w", brs.Name, err)
	}
	ctx, cancel, err := r.writing(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	r.mirror.await(brs.Name) // before the write: the watch may be faster than the answer
	written := &v2.BottlerocketShadow{}
	written.Name, written.Namespace = brs.Name, brs.Namespace
	err = r.client.Patch(ctx, written, client.RawPatch(types.MergePatchType, body), client.FieldOwner(Name))
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("marking shadow %s: %w", brs.Name, err)
	}
	written.ManagedFields = nil
	r.mirror.put(written)
	r.mark = mark{written.Name, written.ResourceVersion, now}
	return nil
}

// readAll reads all shadows from the server, and returns the names of those that are there.
func (r *reconciler) readAll(ctx context.Context) (map[string]bool, error) {
	there := map[string]bool{}
	var list v2.BottlerocketShadowList
	for {
		opts := []client.ListOption{client.InNamespace(r.cfg.Namespace), client.Limit(listPage), client.Continue(list.Continue)}
		list = v2.BottlerocketShadowList{}
		if err := r.live.List(ctx, &list, opts...); err != nil {
			return nil, fmt.Errorf("reading all shadows: %w", err)
		}
		for i := range list.Items {
			list.Items[i].ManagedFields = nil
			r.mirror.put(&list.Items[i])
			there[list.Items[i].Name] = true
		}
		if list.Continue == "" {
			return there, nil
		}
	}
}
