// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package controller

import (
	"reflect"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	toolscache "k8s.io/client-go/tools/cache"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/fleetview"
	"github.com/drydock-os/drydock/internal/plan"
)

// mirror is the fleet as this replica knows it: what the watches have shown last, and in place of that what is known
// to be newer, because it was just written or read from the server itself. It is kept current object by object, so
// that a look at thousands of nodes costs little when one of them has changed.
type mirror struct {
	mu      sync.Mutex
	nodes   map[string]plan.Node
	shadows map[string]*mirrored // by the name of the object
	order   []*mirrored          // the same by name, so that decisions need not be sorted much
	wake    func()               // called after each change that matters to the plan; nil while nobody plans
	awaited string               // the shadow of which any news matters; "" for none
	highest string               // the highest resource version of a shadow that is known
	// specs are shadows as they were right after their spec was changed, in the order in which that was learned: for the
	// leader to come, who has to know which transitions nobody may have told. Of a shadow that was there at the start it is
	// not known when that was. Who leads needs no more of them.
	specs []*v2.BottlerocketShadow
	leads bool
}

// mirrored is one shadow.
type mirrored struct {
	name   string                 // of the object
	object *v2.BottlerocketShadow // the newest known form, which nobody changes
	seen   plan.Shadow            // that as the plan sees it
	// shown is the resource version that the watch has shown last. Empty if it shows no such object: then it is
	// either too new for the watch, or deleted meanwhile.
	shown string
}

func newMirror() *mirror {
	return &mirror{nodes: map[string]plan.Node{}, shadows: map[string]*mirrored{}}
}

// onWake sets what is called after each change that matters to the plan.
func (m *mirror) onWake(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wake = f
}

// changed is called with the lock held; wake never blocks.
func (m *mirror) changed() {
	if m.wake != nil {
		m.wake()
	}
}

// nodeHandler and shadowHandler take in what the watches show.
func (m *mirror) nodeHandler() toolscache.ResourceEventHandler {
	show := func(o any) {
		if node, ok := o.(*corev1.Node); ok {
			m.nodeShown(node)
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    show,
		UpdateFunc: func(_, o any) { show(o) },
		DeleteFunc: func(o any) {
			if node, ok := lastState(o).(*corev1.Node); ok {
				m.nodeGone(node.Name)
			}
		},
	}
}

func (m *mirror) shadowHandler() toolscache.ResourceEventHandler {
	show := func(o any) {
		if brs, ok := o.(*v2.BottlerocketShadow); ok {
			m.shadowShown(brs)
		}
	}
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    show,
		UpdateFunc: func(_, o any) { show(o) },
		DeleteFunc: func(o any) {
			if brs, ok := lastState(o).(*v2.BottlerocketShadow); ok {
				m.shadowGone(brs)
			}
		},
	}
}

// lastState is the object of a deletion that was missed and of one that was seen.
func lastState(o any) any {
	if missed, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
		return missed.Obj
	}
	return o
}

// nodeShown matters only if the plan can see the difference: kubelets write heartbeats all the time.
func (m *mirror) nodeShown(node *corev1.Node) {
	seen := fleetview.Node(node)
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, ok := m.nodes[node.Name]; ok && old == seen {
		return
	}
	m.nodes[node.Name] = seen
	m.changed()
}

func (m *mirror) nodeGone(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.nodes, name)
	m.changed()
}

func (m *mirror) shadowShown(brs *v2.BottlerocketShadow) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.shadows[brs.Name]
	if e == nil {
		e = m.add(brs.Name)
	}
	e.shown = brs.ResourceVersion
	different := (e.object == nil || !newer(e.object, brs)) && m.set(e, brs)
	if different || brs.Name == m.awaited {
		m.changed()
	}
}

func (m *mirror) shadowGone(brs *v2.BottlerocketShadow) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch e := m.shadows[brs.Name]; {
	case e == nil:
		return
	case newer(e.object, brs): // made again, or written to before it was deleted
		e.shown = ""
	default:
		m.remove(e)
	}
	m.changed()
}

// put remembers what was written, or read from the server itself, unless something newer is known.
func (m *mirror) put(brs *v2.BottlerocketShadow) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.shadows[brs.Name]
	switch {
	case e == nil:
		e = m.add(brs.Name)
	case !newer(brs, e.object):
		return
	}
	if m.set(e, brs) {
		m.changed()
	}
}

// set makes brs the newest known form, and reports whether the plan sees a difference: agents report progress for
// people, too.
func (m *mirror) set(e *mirrored, brs *v2.BottlerocketShadow) bool {
	before := e.seen
	first := e.object == nil
	e.object, e.seen = brs, fleetview.Shadow(brs)
	if !m.leads && (first || before.Spec != e.seen.Spec) {
		m.specs = append(m.specs, brs)
		if most := leastSpecs + 4*len(m.order); len(m.specs) > most { // the leader keeps no account: the last ones will do
			m.specs = slices.Delete(m.specs, 0, len(m.specs)-most)
		}
	}
	if m.highest == "" || after(brs.ResourceVersion, m.highest) {
		m.highest = brs.ResourceVersion
	}
	return first || !reflect.DeepEqual(before, e.seen)
}

// leastSpecs is how many changes of specs are remembered at least.
const leastSpecs = 100

// known is the highest resource version of a shadow that is known; empty if none is.
func (m *mirror) known() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.highest
}

// specsAfter returns the shadows whose spec may have changed after that resource version, each as it was right after,
// and forgets the others.
func (m *mirror) specsAfter(version string) []*v2.BottlerocketShadow {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.specs = slices.DeleteFunc(m.specs, func(brs *v2.BottlerocketShadow) bool { return !after(brs.ResourceVersion, version) })
	return slices.Clone(m.specs)
}

// lead is called once those are told, or have an entry in the ledger.
func (m *mirror) lead() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leads, m.specs = true, nil
}

// drop forgets an object that the watch does not show and the server does not have.
func (m *mirror) drop(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.shadows[name]; e != nil && e.shown == "" {
		m.remove(e)
	}
}

// add and remove keep both ways to the shadows.
func (m *mirror) add(name string) *mirrored {
	e := &mirrored{name: name}
	i, _ := slices.BinarySearchFunc(m.order, e, byName)
	m.order = slices.Insert(m.order, i, e)
	m.shadows[name] = e
	return e
}

func (m *mirror) remove(e *mirrored) {
	if i, ok := slices.BinarySearchFunc(m.order, e, byName); ok {
		m.order = slices.Delete(m.order, i, i+1)
	}
	delete(m.shadows, e.name)
}

func byName(a, b *mirrored) int { return strings.Compare(a.name, b.name) }

// unseen returns what is remembered and not shown by the watch.
func (m *mirror) unseen() []*v2.BottlerocketShadow {
	m.mu.Lock()
	defer m.mu.Unlock()
	var unseen []*v2.BottlerocketShadow
	for _, e := range m.order {
		if e.shown == "" {
			unseen = append(unseen, e.object)
		}
	}
	return unseen
}

// await makes any news of a shadow matter until it is called again; "" ends that.
func (m *mirror) await(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.awaited = name
}

// anyShown returns the first shadow by name that the watch shows; nil if it shows none.
func (m *mirror) anyShown() *v2.BottlerocketShadow {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.order {
		if e.shown != "" {
			return e.object
		}
	}
	return nil
}

// hasShown is whether the watch has come to that version of the object, or beyond.
func (m *mirror) hasShown(name, version string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.shadows[name]
	if e == nil || e.shown == "" {
		return false
	}
	c, err := resourceversion.CompareResourceVersion(e.shown, version)
	return err == nil && c >= 0
}

// fill adds the fleet to a snapshot, and returns the shadows in it by the name of their node.
func (m *mirror) fill(s *plan.Snapshot) map[string]*v2.BottlerocketShadow {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.Nodes = make([]plan.Node, 0, len(m.nodes))
	for _, node := range m.nodes {
		s.Nodes = append(s.Nodes, node)
	}
	s.Shadows = make([]plan.Shadow, 0, len(m.order))
	shadows := make(map[string]*v2.BottlerocketShadow, len(m.order))
	for _, e := range m.order {
		if e.seen.Node != "" {
			s.Shadows = append(s.Shadows, e.seen)
			shadows[e.seen.Node] = e.object
		}
	}
	return shadows
}

// hosts counts the hosts by the state and by the version that they have reported.
func (m *mirror) hosts() (states map[plan.State]float64, versions map[string]float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	// All states are always there: a sum that ends in nothing is hard to tell from one that was never made.
	states = map[plan.State]float64{plan.Idle: 0, plan.StagedAndPerformedUpdate: 0, plan.RebootedIntoUpdate: 0, plan.MonitoringUpdate: 0, plan.ErrorReset: 0}
	versions = map[string]float64{}
	for _, e := range m.order {
		if st := e.seen.Status; st != nil {
			states[short(st.CurrentState)]++
			versions[short(st.CurrentVersion)]++
		}
	}
	return states, versions
}

// newer compares by resource version. Versions that cannot be compared make nothing newer: the watch is then
// believed, and the version named in each write refuses what that gets wrong.
func newer(a, b *v2.BottlerocketShadow) bool {
	c, err := resourceversion.CompareResourceVersion(a.ResourceVersion, b.ResourceVersion)
	return err == nil && c > 0
}
