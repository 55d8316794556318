// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package kubelet

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// objectKind is a kind of object whose keys become files or variables.
type objectKind string

const (
	secretKind    objectKind = "secret"
	configMapKind objectKind = "configmap"
)

// objectRef names one Secret or ConfigMap.
type objectRef struct {
	kind            objectKind
	namespace, name string
}

func (r objectRef) String() string { return fmt.Sprintf("%s %q", r.kind, r.name) }

// objectStore watches single objects, each once however many pods use it. A node may watch only objects that
// its pods name, and only one by one.
type objectStore struct {
	client kubernetes.Interface
	log    *slog.Logger
	spawn  func(func(context.Context)) // runs a function beside, with the context of the whole kubelet

	mu      sync.Mutex
	objects map[objectRef]*object
}

// object is what is known of one object.
type object struct {
	mu    sync.Mutex
	known bool              // the API server was asked
	data  map[string][]byte // nil: does not exist
	users map[chan<- struct{}]int
	stop  chan struct{} // closed when the last user has left
}

func newObjectStore(client kubernetes.Interface, log *slog.Logger, spawn func(func(context.Context))) *objectStore {
	return &objectStore{client: client, log: log, spawn: spawn, objects: map[objectRef]*object{}}
}

// use starts to follow an object and signals notify (which has room for one signal) on each change of it. The
// caller must call release.
func (s *objectStore) use(ref objectRef, notify chan<- struct{}) (o *object, release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o = s.objects[ref]
	if o == nil {
		o = &object{users: map[chan<- struct{}]int{}, stop: make(chan struct{})}
		s.objects[ref] = o
		s.spawn(func(ctx context.Context) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			go func() {
				select {
				case <-o.stop:
					cancel()
				case <-ctx.Done():
				}
			}()
			s.follow(ctx, ref, o)
		})
	}
	o.mu.Lock()
	o.users[notify]++
	o.mu.Unlock()
	return o, sync.OnceFunc(func() { s.release(ref, o, notify) })
}

func (s *objectStore) release(ref objectRef, o *object, notify chan<- struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.users[notify]--; o.users[notify] == 0 {
		delete(o.users, notify)
	}
	if len(o.users) == 0 {
		close(o.stop)
		delete(s.objects, ref)
	}
}

// get returns the object's keys. exists is false while the object is not known to exist; known says whether
// that is certain.
func (o *object) get() (data map[string][]byte, exists, known bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.data, o.data != nil, o.known
}

func (o *object) set(data map[string][]byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.known, o.data = true, data
	for user := range o.users {
		select {
		case user <- struct{}{}:
		default:
		}
	}
}

// follow lists and watches one object until ctx ends.
func (s *objectStore) follow(ctx context.Context, ref objectRef, o *object) {
	delay := firstRetry
	for ctx.Err() == nil {
		progress, err := s.followOnce(ctx, ref, o)
		if progress {
			delay = firstRetry
		}
		if ctx.Err() == nil {
			s.log.Debug("watching again", "object", ref, "namespace", ref.namespace, "error", err)
		}
		if pause(ctx, delay) != nil {
			return
		}
		delay = min(2*delay, lastRetry)
	}
}

// followOnce reports whether it learned something before it failed. A watch that the server ends is no error.
func (s *objectStore) followOnce(ctx context.Context, ref objectRef, o *object) (progress bool, err error) {
	one := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", ref.name).String()}
	var version string
	var data map[string][]byte
	if ref.kind == secretKind {
		list, err := s.client.CoreV1().Secrets(ref.namespace).List(ctx, one)
		if err != nil {
			return false, fmt.Errorf("listing: %w", err)
		}
		version = list.ResourceVersion
		for i := range list.Items {
			data = objectData(&list.Items[i])
		}
	} else {
		list, err := s.client.CoreV1().ConfigMaps(ref.namespace).List(ctx, one)
		if err != nil {
			return false, fmt.Errorf("listing: %w", err)
		}
		version = list.ResourceVersion
		for i := range list.Items {
			data = objectData(&list.Items[i])
		}
	}
	o.set(data)

	one.ResourceVersion = version
	var w watch.Interface
	if ref.kind == secretKind {
		w, err = s.client.CoreV1().Secrets(ref.namespace).Watch(ctx, one)
	} else {
		w, err = s.client.CoreV1().ConfigMaps(ref.namespace).Watch(ctx, one)
	}
	if err != nil {
		return true, fmt.Errorf("watching: %w", err)
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return true, ctx.Err()
		case e, ok := <-w.ResultChan():
			switch {
			case !ok:
				return true, nil
			case e.Type == watch.Added || e.Type == watch.Modified:
				o.set(objectData(e.Object))
			case e.Type == watch.Deleted:
				o.set(nil)
			case e.Type == watch.Error:
				return true, fmt.Errorf("watching: %v", e.Object)
			}
		}
	}
}

// objectData returns the keys of a Secret or ConfigMap, never nil for one that exists.
func objectData(o any) map[string][]byte {
	data := map[string][]byte{}
	switch o := o.(type) {
	case *corev1.Secret:
		for k, v := range o.Data {
			data[k] = v
		}
	case *corev1.ConfigMap:
		for k, v := range o.BinaryData {
			data[k] = v
		}
		for k, v := range o.Data {
			data[k] = []byte(v)
		}
	}
	return data
}
