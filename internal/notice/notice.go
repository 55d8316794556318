// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

// Package notice tells of a node's update in Kubernetes events, at the node and at its shadow.
//
// The same notice is one event, however often it is told and by whichever replica: the name of the event is made
// from what it says, so the server itself refuses a second one, and what happens again is counted in the first. No
// process need remember what it has told, and a new leader repeats nothing. A right to read events is not needed.
//
// The recorder of client-go is not used because it takes events for the same that differ in their text alone, and
// because each replica keeps its own account.
package notice

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
)

// maxNote is the most bytes that the API takes as an event's text, maxName as its name.
const (
	maxNote = 1024
	maxName = 253
)

// Subject is a node and its shadow. Each may be without a UID; then it is not there, and nothing is told at it.
type Subject struct {
	Node    string
	NodeUID types.UID
	// Namespace is that of the shadow.
	Namespace string
	ShadowUID types.UID
}

// Notice is one thing to tell.
type Notice struct {
	Subject
	// Warning is whether somebody may have to act.
	Warning bool
	// Reason and Action are words for programs.
	Reason, Action string
	// Note is a sentence for people; it is cut to what an event may hold.
	Note string
	// Same is what makes two notices of one Reason the same, for notes that also say what varies. Default: Note.
	Same string
	// Known is whether it may have been told already, and has not happened again since.
	Known bool
	// At is when it happened. Default: when it is told.
	At time.Time
	// Written is called once it is written or given up, but not if the process ends before; may be nil.
	Written func()
}

// references are the objects to tell n at, each with the other one.
func (n *Notice) references() (refs [][2]*corev1.ObjectReference) {
	var node, shadow *corev1.ObjectReference
	// kubectl looks for the events of a node by its UID and, for those of its kubelet, by its name in place of it.
	if n.NodeUID != "" {
		node = &corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: n.Node, UID: n.NodeUID}
	}
	if n.ShadowUID != "" {
		shadow = &corev1.ObjectReference{
			APIVersion: v2.GroupVersion.String(), Kind: "BottlerocketShadow",
			Namespace: n.Namespace, Name: v2.ShadowName(n.Node), UID: n.ShadowUID,
		}
	}
	for _, pair := range [][2]*corev1.ObjectReference{{node, shadow}, {shadow, node}} {
		if pair[0] != nil {
			refs = append(refs, pair)
		}
	}
	return refs
}

// events are the events that tell n, which happened at the given time.
func (n *Notice) events(reporter, instance string, at time.Time) (all []*eventsv1.Event) {
	kind := corev1.EventTypeNormal
	if n.Warning {
		kind = corev1.EventTypeWarning
	}
	same := n.Same
	if same == "" {
		same = n.Note
	}
	for _, ref := range n.references() {
		about := ref[0]
		e := &eventsv1.Event{
			ObjectMeta: metav1.ObjectMeta{
				// Events of objects without a namespace are kept in this one.
				Namespace: metav1.NamespaceDefault,
				Name:      name(about.Name, reporter, about.Kind, about.Namespace, about.Name, string(about.UID), kind, n.Reason, n.Action, same),
			},
			EventTime:           metav1.NewMicroTime(at),
			ReportingController: reporter,
			ReportingInstance:   instance,
			Action:              n.Action,
			Reason:              n.Reason,
			Type:                kind,
			Regarding:           *about,
			Related:             ref[1],
			Note:                clip(n.Note),
		}
		if about.Namespace != "" {
			e.Namespace = about.Namespace
		}
		all = append(all, e)
	}
	return all
}

// name is that of an event about an object: it begins as all names of events do, and is the same for the same parts.
func name(object string, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	end := "." + hex.EncodeToString(sum[:10])
	if most := maxName - len(end); len(object) > most {
		object = strings.TrimRight(object[:most], ".-")
	}
	return object + end
}

// clip cuts a note to what an event may hold, at a character.
func clip(note string) string {
	const mark = "…"
	note = strings.ToValidUTF8(note, "?")
	if len(note) <= maxNote {
		return note
	}
	return strings.ToValidUTF8(note[:maxNote-len(mark)], "") + mark
}

// Sink is the part of the events API that is used; the interface of client-go's typed client is one.
type Sink interface {
	Create(context.Context, *eventsv1.Event, metav1.CreateOptions) (*eventsv1.Event, error)
	Patch(ctx context.Context, name string, pt types.PatchType, data []byte, opts metav1.PatchOptions, subresources ...string) (*eventsv1.Event, error)
}
