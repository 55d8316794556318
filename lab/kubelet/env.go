// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package kubelet

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// errMissing marks an object or key that a container needs and that may still appear.
var errMissing = errors.New("not found")

// environment resolves the variables of one container.
type environment struct {
	pod       *corev1.Pod // with addresses
	container *corev1.Container
	// object returns the keys of a Secret or ConfigMap; exists is false while there is none.
	object func(objectRef) (data map[string][]byte, exists bool)
}

// vars keeps variables in the order of their first definition.
type vars struct {
	names  []string
	values map[string]string
}

func (v *vars) set(name, value string) {
	if _, ok := v.values[name]; !ok {
		v.names = append(v.names, name)
	}
	v.values[name] = value
}

func (v *vars) environ() []string {
	out := make([]string, 0, len(v.names))
	for _, n := range v.names {
		out = append(out, n+"="+v.values[n])
	}
	return out
}

// envObjects lists the objects that a container's variables come from.
func envObjects(namespace string, c *corev1.Container) []objectRef {
	refs := map[objectRef]bool{}
	for _, f := range c.EnvFrom {
		if f.SecretRef != nil {
			refs[objectRef{secretKind, namespace, f.SecretRef.Name}] = true
		}
		if f.ConfigMapRef != nil {
			refs[objectRef{configMapKind, namespace, f.ConfigMapRef.Name}] = true
		}
	}
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			continue
		}
		if r := e.ValueFrom.SecretKeyRef; r != nil {
			refs[objectRef{secretKind, namespace, r.Name}] = true
		}
		if r := e.ValueFrom.ConfigMapKeyRef; r != nil {
			refs[objectRef{configMapKind, namespace, r.Name}] = true
		}
	}
	return slices.Collect(maps.Keys(refs))
}

// resolve adds the container's variables to defined, which holds those that the node provides. The error
// wraps errMissing when an object or a key may still appear.
func (e *environment) resolve(defined *vars) error {
	for _, f := range e.container.EnvFrom {
		if err := e.resolveFrom(defined, f); err != nil {
			return err
		}
	}
	for _, v := range e.container.Env {
		if v.ValueFrom == nil {
			defined.set(v.Name, expand(v.Value, defined.values))
			continue
		}
		value, ok, err := e.source(v.ValueFrom)
		if err != nil {
			return fmt.Errorf("variable %s: %w", v.Name, err)
		}
		if ok {
			defined.set(v.Name, value)
		}
	}
	return nil
}

func (e *environment) resolveFrom(defined *vars, f corev1.EnvFromSource) error {
	var ref objectRef
	var optional bool
	switch {
	case f.SecretRef != nil:
		ref, optional = objectRef{secretKind, e.pod.Namespace, f.SecretRef.Name}, isTrue(f.SecretRef.Optional)
	case f.ConfigMapRef != nil:
		ref, optional = objectRef{configMapKind, e.pod.Namespace, f.ConfigMapRef.Name}, isTrue(f.ConfigMapRef.Optional)
	default:
		return nil
	}
	data, exists := e.object(ref)
	if !exists && !optional {
		return fmt.Errorf("%v %w", ref, errMissing)
	}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		defined.set(f.Prefix+key, string(data[key]))
	}
	return nil
}

// source returns the value behind a reference; ok is false when it is optional and absent.
func (e *environment) source(s *corev1.EnvVarSource) (value string, ok bool, err error) {
	switch {
	case s.FieldRef != nil:
		value, err = fieldValue(e.pod, s.FieldRef.FieldPath)
		return value, true, err
	case s.ResourceFieldRef != nil:
		value, err = resourceValue(e.pod, e.container.Name, s.ResourceFieldRef)
		return value, true, err
	case s.SecretKeyRef != nil:
		r := s.SecretKeyRef
		return e.key(objectRef{secretKind, e.pod.Namespace, r.Name}, r.Key, isTrue(r.Optional))
	case s.ConfigMapKeyRef != nil:
		r := s.ConfigMapKeyRef
		return e.key(objectRef{configMapKind, e.pod.Namespace, r.Name}, r.Key, isTrue(r.Optional))
	}
	return "", false, errors.New("the lab does not know this kind of source")
}

func (e *environment) key(ref objectRef, key string, optional bool) (string, bool, error) {
	data, exists := e.object(ref)
	value, ok := data[key]
	switch {
	case ok:
		return string(value), true, nil
	case optional:
		return "", false, nil
	case !exists:
		return "", false, fmt.Errorf("%v %w", ref, errMissing)
	}
	return "", false, fmt.Errorf("key %q of %v %w", key, ref, errMissing)
}

// expand replaces $(NAME) by the value of a known variable. $$ stands for $, so $$(NAME) stays $(NAME);
// references to unknown variables stay as they are.
func expand(s string, values map[string]string) string {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 || i == len(s)-1 {
			return b.String() + s
		}
		b.WriteString(s[:i])
		s = s[i+1:]
		switch s[0] {
		case '$':
			b.WriteByte('$')
			s = s[1:]
		case '(':
			name, rest, closed := strings.Cut(s[1:], ")")
			if value, ok := values[name]; closed && ok {
				b.WriteString(value)
				s = rest
			} else if closed {
				b.WriteString("$(" + name + ")")
				s = rest
			} else {
				return b.String() + "$" + s
			}
		default:
			b.WriteByte('$')
		}
	}
}

// fieldValue is the downward API's view of a pod.
func fieldValue(pod *corev1.Pod, path string) (string, error) {
	if name, key, ok := strings.Cut(strings.TrimSuffix(path, "']"), "['"); ok && strings.HasSuffix(path, "']") {
		switch name {
		case "metadata.labels":
			return pod.Labels[key], nil
		case "metadata.annotations":
			return pod.Annotations[key], nil
		}
	}
	switch path {
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	case "metadata.labels":
		return formatMap(pod.Labels), nil
	case "metadata.annotations":
		return formatMap(pod.Annotations), nil
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.hostIP", "status.hostIPs":
		return pod.Status.HostIP, nil
	case "status.podIP", "status.podIPs":
		return pod.Status.PodIP, nil
	}
	return "", fmt.Errorf("the lab does not know the field %q", path)
}

func formatMap(m map[string]string) string {
	lines := make([]string, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		lines = append(lines, quoteMap(k, m[k]))
	}
	return strings.Join(lines, "\n")
}

// resourceValue is the downward API's view of a container's requests and limits, in units of the divisor and
// rounded up. The lab does not limit anything, so a limit that is not set reads as 0.
func resourceValue(pod *corev1.Pod, container string, r *corev1.ResourceFieldSelector) (string, error) {
	if r.ContainerName != "" {
		container = r.ContainerName
	}
	i := slices.IndexFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Name == container })
	if i < 0 {
		return "", fmt.Errorf("no container %q", container)
	}
	res := pod.Spec.Containers[i].Resources
	list, name, ok := strings.Cut(r.Resource, ".")
	var quantity resource.Quantity
	switch {
	case ok && list == "limits":
		quantity = res.Limits[corev1.ResourceName(name)]
	case ok && list == "requests":
		quantity = res.Requests[corev1.ResourceName(name)]
	default:
		return "", fmt.Errorf("the lab does not know the resource %q", r.Resource)
	}
	value, divisor := quantity.Value(), max(r.Divisor.Value(), 1)
	if name == string(corev1.ResourceCPU) {
		value, divisor = quantity.MilliValue(), r.Divisor.MilliValue()
		if divisor == 0 {
			divisor = 1000
		}
	}
	return strconv.FormatInt((value+divisor-1)/divisor, 10), nil
}
