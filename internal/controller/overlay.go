// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package controller

import (
	"sync"

	"k8s.io/apimachinery/pkg/util/resourceversion"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
)

// overlay holds shadows that are known to be newer than what the cache may show: what was just written, and
// what was read from the server itself. It forgets each as soon as the cache has caught up.
type overlay struct {
	mu      sync.Mutex
	objects map[string]*v2.BottlerocketShadow
}

// put remembers brs unless something newer is known.
func (o *overlay) put(brs *v2.BottlerocketShadow) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if old := o.objects[brs.Name]; old != nil && !newer(brs, old) {
		return
	}
	if o.objects == nil {
		o.objects = make(map[string]*v2.BottlerocketShadow)
	}
	o.objects[brs.Name] = brs
}

// drop forgets the object of that name.
func (o *overlay) drop(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.objects, name)
}

// merge returns the newest known form of each cached object, and apart from these what is remembered but not
// cached: such an object is either too new for the cache or deleted meanwhile.
func (o *overlay) merge(cached []v2.BottlerocketShadow) (known, unseen []*v2.BottlerocketShadow) {
	o.mu.Lock()
	defer o.mu.Unlock()
	known = make([]*v2.BottlerocketShadow, len(cached))
	seen := make(map[string]bool, len(o.objects))
	for i := range cached {
		known[i] = &cached[i]
		written := o.objects[cached[i].Name]
		switch {
		case written == nil:
		case newer(written, &cached[i]):
			known[i] = written
			seen[written.Name] = true
		default:
			delete(o.objects, written.Name)
		}
	}
	for name, brs := range o.objects {
		if !seen[name] {
			unseen = append(unseen, brs)
		}
	}
	return known, unseen
}

// newer compares by resource version. Versions that cannot be compared make nothing newer: the cache is then
// believed, and the version named in each write refuses what that gets wrong.
func newer(a, b *v2.BottlerocketShadow) bool {
	c, err := resourceversion.CompareResourceVersion(a.ResourceVersion, b.ResourceVersion)
	return err == nil && c > 0
}
