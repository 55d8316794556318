// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/apiserver/auth"
	"github.com/drydock-os/drydock/internal/apiserver/nodes"
)

// cluster is what the server knows of Kubernetes: two watches for all agents together, one on the agents'
// pods and one on the shadows of the operator's namespace, and a client for everything else.
type cluster struct {
	namespace string
	kube      kubernetes.Interface
	client    client.Client // writes, and reads past the cache
	cache     cache.Cache
	nodes     *nodes.Nodes
	written   written
}

func newCluster(cfg *rest.Config, namespace string) (*cluster, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), v2.AddToScheme(scheme)); err != nil {
		return nil, fmt.Errorf("making scheme: %w", err)
	}
	// The few kinds are known: no need to ask the server for all it has.
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Pod"), meta.RESTScopeNamespace)
	mapper.Add(definitionKind, meta.RESTScopeRoot)
	mapper.Add(v2.GroupVersion.WithKind("BottlerocketShadow"), meta.RESTScopeNamespace)
	kube, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("making Kubernetes client: %w", err)
	}
	cl, err := client.New(cfg, client.Options{Scheme: scheme, Mapper: mapper})
	if err != nil {
		return nil, fmt.Errorf("making client of the shadows: %w", err)
	}
	store, err := cache.New(cfg, cache.Options{
		Scheme: scheme, Mapper: mapper,
		DefaultNamespaces: map[string]cache.Config{namespace: {}},
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}: {
				Label:     labels.SelectorFromSet(labels.Set{v2.ComponentLabel: auth.AgentComponent}),
				Transform: trimPod,
			},
			&v2.BottlerocketShadow{}: {Transform: cache.TransformStripManagedFields()},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("making cache: %w", err)
	}
	return &cluster{namespace: namespace, kube: kube, client: cl, cache: store, nodes: nodes.New(kube.CoreV1().Nodes())}, nil
}

// trimPod keeps what authentication looks at: with thousands of agents the rest would be most of our memory.
func trimPod(o any) (any, error) {
	pod, ok := o.(*corev1.Pod)
	if !ok {
		return o, nil
	}
	return &corev1.Pod{
		TypeMeta: pod.TypeMeta,
		ObjectMeta: metav1.ObjectMeta{
			Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
			Labels: pod.Labels, DeletionTimestamp: pod.DeletionTimestamp,
		},
		Spec: corev1.PodSpec{NodeName: pod.Spec.NodeName},
	}, nil
}

// onShadowChange calls f with the name of each shadow that appears, changes or goes, and gone if it goes.
func (c *cluster) onShadowChange(ctx context.Context, f, gone func(name string)) error {
	informer, err := c.cache.GetInformer(ctx, &v2.BottlerocketShadow{}, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watching shadows: %w", err)
	}
	call := func(o any, f func(string)) {
		if key, err := toolscache.DeletionHandlingMetaNamespaceKeyFunc(o); err == nil {
			_, name, _ := toolscache.SplitMetaNamespaceKey(key)
			f(name)
		}
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { call(o, f) },
		UpdateFunc: func(_, o any) { call(o, f) },
		DeleteFunc: func(o any) { call(o, f); call(o, gone) },
	})
	if err != nil {
		return fmt.Errorf("watching shadows: %w", err)
	}
	_, err = c.cache.GetInformer(ctx, &corev1.Pod{}, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("watching agent pods: %w", err)
	}
	return nil
}

// probe asks for one shadow: it fails while the Kubernetes API server or the CRD is missing, or the right to read.
func (c *cluster) probe(ctx context.Context) error {
	var l v2.BottlerocketShadowList
	err := c.client.List(ctx, &l, client.InNamespace(c.namespace), client.Limit(1))
	if err != nil {
		return fmt.Errorf("listing shadows: %w", err)
	}
	return nil
}

// CachedPod, LivePod and NodeUID make cluster an auth.Kube.
func (c *cluster) CachedPod(ctx context.Context, name string) (*corev1.Pod, error) {
	return c.pod(ctx, c.cache, name)
}

func (c *cluster) LivePod(ctx context.Context, name string) (*corev1.Pod, error) {
	return c.pod(ctx, c.client, name)
}

func (c *cluster) pod(ctx context.Context, from client.Reader, name string) (*corev1.Pod, error) {
	var pod corev1.Pod
	err := from.Get(ctx, types.NamespacedName{Namespace: c.namespace, Name: name}, &pod)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &pod, nil
}

func (c *cluster) NodeUID(ctx context.Context, name string) (string, error) {
	return c.nodes.UID(ctx, name)
}

// uncordon takes our marks off a node, which it probably carries while an update is asked of it.
func (c *cluster) uncordon(ctx context.Context, node string) (*corev1.Node, error) {
	var s v2.BottlerocketShadow
	err := c.cache.Get(ctx, types.NamespacedName{Namespace: c.namespace, Name: v2.ShadowName(node)}, &s)
	return c.nodes.Uncordon(ctx, node, err == nil && s.Spec.State != v2.Idle)
}

// shadowUID is that of a node's shadow; empty if there is none.
func (c *cluster) shadowUID(ctx context.Context, node string) types.UID {
	var s v2.BottlerocketShadow
	if c.cache.Get(ctx, types.NamespacedName{Namespace: c.namespace, Name: v2.ShadowName(node)}, &s) != nil {
		return ""
	}
	return s.UID
}

// event returns the present state of a node's shadow as an event for its agent.
func (c *cluster) event(ctx context.Context, node string) (agentapi.Event, error) {
	var s v2.BottlerocketShadow
	err := c.cache.Get(ctx, types.NamespacedName{Namespace: c.namespace, Name: v2.ShadowName(node)}, &s)
	if apierrors.IsNotFound(err) {
		return agentapi.Event{Type: agentapi.EventAbsent}, nil
	}
	if err != nil {
		return agentapi.Event{}, fmt.Errorf("reading shadow of node %s: %w", node, err)
	}
	e := agentapi.Event{
		Type:     agentapi.EventState,
		Spec:     wireSpec(s.Spec),
		UID:      string(s.UID),
		Revision: revision(s.ResourceVersion),
	}
	if s.Status != nil {
		e.Status = wireStatus(*s.Status)
	}
	return e, nil
}

// create makes the shadow of a node. One that is already there is success if it belongs to the same node,
// and errForeignShadow if it belongs to an earlier node of the same name.
func (c *cluster) create(ctx context.Context, node, nodeUID string) (*v2.BottlerocketShadow, error) {
	s := &v2.BottlerocketShadow{
		TypeMeta: metav1.TypeMeta{APIVersion: v2.GroupVersion.String(), Kind: "BottlerocketShadow"},
		ObjectMeta: metav1.ObjectMeta{
			Name: v2.ShadowName(node), Namespace: c.namespace,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node, UID: types.UID(nodeUID)}},
		},
		Spec: v2.BottlerocketShadowSpec{State: v2.Idle},
	}
	err := c.client.Create(ctx, s)
	if err == nil {
		return s, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("creating shadow of node %s: %w", node, err)
	}
	var present v2.BottlerocketShadow
	if err := c.client.Get(ctx, client.ObjectKeyFromObject(s), &present); err != nil {
		return nil, fmt.Errorf("getting shadow of node %s: %w", node, err)
	}
	owned := slices.ContainsFunc(present.OwnerReferences, func(o metav1.OwnerReference) bool {
		return o.Kind == "Node" && o.Name == node && string(o.UID) == nodeUID
	})
	if !owned {
		return nil, fmt.Errorf("%w: %s", errForeignShadow, present.Name)
	}
	return &present, nil
}

// errForeignShadow: the garbage collector removes such an object soon, then the agent can create its own.
var errForeignShadow = errors.New("the shadow belongs to an earlier node of the same name")

// putStatus writes the status and returns the object's revision after that. Nothing is compared with the
// cache first: the cache may be behind, and a patch that changes nothing is no write for Kubernetes anyway.
func (c *cluster) putStatus(ctx context.Context, node string, s agentapi.Status) (uint64, error) {
	patch := statusPatch(s)
	patch["conditions"] = conditionsOf(c.conditions(ctx, node), s)
	return c.patchStatus(ctx, node, patch)
}

// patchStatus merges fields into the status.
func (c *cluster) patchStatus(ctx context.Context, node string, status map[string]any) (uint64, error) {
	body, err := json.Marshal(map[string]any{
		"apiVersion": v2.GroupVersion.String(),
		"kind":       "BottlerocketShadow",
		"status":     status,
	})
	if err != nil {
		return 0, fmt.Errorf("encoding status: %w", err)
	}
	o := &v2.BottlerocketShadow{ObjectMeta: metav1.ObjectMeta{Name: v2.ShadowName(node), Namespace: c.namespace}}
	if err := c.client.Status().Patch(ctx, o, client.RawPatch(types.MergePatchType, body)); err != nil {
		return 0, fmt.Errorf("writing status of node %s: %w", node, err)
	}
	c.written.note(o)
	return revision(o.ResourceVersion), nil
}

// statusPatch makes absent values explicit nulls, so that a merge patch clears them.
func statusPatch(s agentapi.Status) map[string]any {
	p := map[string]any{
		"current_version":                    s.CurrentVersion,
		"target_version":                     s.TargetVersion,
		"current_state":                      s.CurrentState,
		"crash_count":                        s.CrashCount,
		"state_transition_failure_timestamp": s.StateTransitionFailureTimestamp,
	}
	for key, value := range map[string]string{"message": s.Message, "last_error": s.LastError, "slot": s.Slot, "boot_id": s.BootID} {
		if value == "" {
			p[key] = nil
		} else {
			p[key] = value
		}
	}
	p["update_check"] = textsOrNull(map[string]string{
		"error": s.UpdateCheck.Error, "failing_since": s.UpdateCheck.FailingSince, "last_success": s.UpdateCheck.LastSuccess,
	})
	p["held_update"] = textsOrNull(map[string]string{
		"version": s.HeldUpdate.Version, "reason": s.HeldUpdate.Reason, "until": s.HeldUpdate.Until, "locked_to": s.HeldUpdate.LockedTo,
	})
	if s.CurrentState != agentapi.StagedAndPerformedUpdate { // the state in which a node is drained
		p["drain"] = nil
	}
	return p
}

// textsOrNull is an object of texts in which empty ones are nulls; nil if all are empty.
func textsOrNull(texts map[string]string) any {
	fields := map[string]any{}
	some := false
	for key, text := range texts {
		fields[key] = nil
		if text != "" {
			fields[key], some = text, true
		}
	}
	if !some {
		return nil
	}
	return fields
}

// maxWireText bounds each text that an agent is told of its shadow, in bytes. Agents write less; more was written by hand,
// and must not make the agent's stream unreadable.
const maxWireText = 4096

func onWire(s string) string {
	if len(s) > maxWireText {
		return strings.ToValidUTF8(s[:maxWireText], "")
	}
	return s
}

func onWireOrNull[S ~string](s *S) *string {
	if s == nil {
		return nil
	}
	return new(onWire(string(*s)))
}

func wireSpec(s v2.BottlerocketShadowSpec) *agentapi.Spec {
	return &agentapi.Spec{
		State:                    agentapi.State(onWire(string(s.State))),
		StateTransitionTimestamp: onWireOrNull(s.StateTransitionTimestamp),
		Version:                  onWireOrNull(s.Version),
	}
}

func wireStatus(s v2.BottlerocketShadowStatus) *agentapi.Status {
	var check agentapi.Check
	if c := s.UpdateCheck; c != nil {
		check = agentapi.Check{Error: onWire(c.Error), FailingSince: onWire(c.FailingSince), LastSuccess: onWire(c.LastSuccess)}
	}
	var held agentapi.Held
	if h := s.HeldUpdate; h != nil {
		held = agentapi.Held{Version: onWire(h.Version), Reason: onWire(h.Reason), Until: onWire(h.Until), LockedTo: onWire(h.LockedTo)}
	}
	return &agentapi.Status{
		UpdateCheck:                     check,
		HeldUpdate:                      held,
		CurrentVersion:                  onWire(string(s.CurrentVersion)),
		TargetVersion:                   onWire(string(s.TargetVersion)),
		CurrentState:                    agentapi.State(onWire(string(s.CurrentState))),
		CrashCount:                      s.CrashCount,
		StateTransitionFailureTimestamp: onWireOrNull(s.StateTransitionFailureTimestamp),
		Message:                         onWire(s.Message),
		LastError:                       onWire(s.LastError),
		Slot:                            onWire(s.Slot),
		BootID:                          onWire(s.BootID),
	}
}

// revision turns a resource version into a number; Kubernetes promises since 1.35 that those of one resource
// can be compared as such. One that is no number becomes 0: unknown.
func revision(resourceVersion string) uint64 {
	n, err := strconv.ParseUint(resourceVersion, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
