// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package fleet

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	brupopv2 "github.com/drydock-os/drydock/api/brupop/v2"
)

// newScheme knows the kinds the lab reads.
func newScheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(s); err != nil {
		return nil, fmt.Errorf("registering kinds: %w", err)
	}
	if err := brupopv2.AddToScheme(s); err != nil {
		return nil, fmt.Errorf("registering kinds: %w", err)
	}
	return s, nil
}

// watchAll feeds every change of nodes, pods and, if the operator is there, its objects to the tracker,
// until ctx ends. It returns after the first state of each kind was taken in; done delivers the end.
func watchAll(ctx context.Context, cfg *rest.Config, t *tracker, operator bool, onShadow func(*brupopv2.BottlerocketShadow)) (done <-chan error, err error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	c, err := cache.New(cfg, cache.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("making the lab's watches: %w", err)
	}
	watches := []struct {
		object client.Object
		take   func(o any, gone bool)
	}{
		{&corev1.Node{}, func(o any, gone bool) {
			if n, ok := o.(*corev1.Node); ok && !gone {
				t.nodeEvent(n, time.Now())
			}
		}},
		{&corev1.Pod{}, func(o any, gone bool) {
			if p, ok := o.(*corev1.Pod); ok {
				t.podEvent(p, gone, time.Now())
			}
		}},
	}
	if operator {
		watches = append(watches, struct {
			object client.Object
			take   func(o any, gone bool)
		}{&brupopv2.BottlerocketShadow{}, func(o any, gone bool) {
			s, ok := o.(*brupopv2.BottlerocketShadow)
			switch {
			case ok && gone:
				t.shadowGone(s.Name, time.Now())
			case ok:
				t.shadowEvent(s, time.Now())
				onShadow(s)
			}
		}})
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Start(ctx) }()
	for _, w := range watches {
		informer, err := c.GetInformer(ctx, w.object)
		if err != nil {
			return nil, fmt.Errorf("watching %T: %w", w.object, err)
		}
		_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { w.take(o, false) },
			UpdateFunc: func(_, o any) { w.take(o, false) },
			DeleteFunc: func(o any) {
				if last, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
					o = last.Obj
				}
				w.take(o, true)
			},
		})
		if err != nil {
			return nil, fmt.Errorf("watching %T: %w", w.object, err)
		}
	}
	return ended, nil
}
