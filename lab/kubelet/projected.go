// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package kubelet

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// defaultTokenSeconds is the API's default for a projected token.
const defaultTokenSeconds = 3600

// lookingUp ends the reason to wait for an object that nobody has asked for before. It is no news.
const lookingUp = " is being looked up"

// projectedVolume is a volume whose files come from the API server: projected, secret, configMap and
// downwardAPI volumes are all treated as lists of projections.
type projectedVolume struct {
	w        *worker
	name     string
	dir      string
	mode     fs.FileMode
	sources  []corev1.VolumeProjection
	notify   chan struct{} // an object or the pod changed
	objects  []*object     // by source; nil for others
	release  []func()
	tokens   []*token // by source; nil for others
	shown    payload
	nextFree int // generation
}

type token struct {
	text    string
	refresh time.Time
}

// asProjections translates the volume sources that follow the API server; ok is false for other kinds.
func asProjections(v corev1.Volume) (sources []corev1.VolumeProjection, mode *int32, ok bool) {
	switch {
	case v.Projected != nil:
		return v.Projected.Sources, v.Projected.DefaultMode, true
	case v.Secret != nil:
		return []corev1.VolumeProjection{{Secret: &corev1.SecretProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: v.Secret.SecretName},
			Items:                v.Secret.Items, Optional: v.Secret.Optional,
		}}}, v.Secret.DefaultMode, true
	case v.ConfigMap != nil:
		return []corev1.VolumeProjection{{ConfigMap: &corev1.ConfigMapProjection{
			LocalObjectReference: v.ConfigMap.LocalObjectReference,
			Items:                v.ConfigMap.Items, Optional: v.ConfigMap.Optional,
		}}}, v.ConfigMap.DefaultMode, true
	case v.DownwardAPI != nil:
		return []corev1.VolumeProjection{{DownwardAPI: &corev1.DownwardAPIProjection{Items: v.DownwardAPI.Items}}},
			v.DownwardAPI.DefaultMode, true
	}
	return nil, nil, false
}

func newProjectedVolume(w *worker, v corev1.Volume, dir string) *projectedVolume {
	sources, mode, _ := asProjections(v)
	p := &projectedVolume{
		w: w, name: v.Name, dir: dir, mode: 0o644, sources: sources,
		notify: make(chan struct{}, 1), objects: make([]*object, len(sources)), tokens: make([]*token, len(sources)),
		nextFree: 1,
	}
	if mode != nil {
		p.mode = fs.FileMode(*mode) & fs.ModePerm
	}
	return p
}

// run keeps the files up to date until ctx ends. It calls shown once, after the first complete content is in
// place, and waiting with the reason whenever that has to wait.
func (p *projectedVolume) run(ctx context.Context, shown func(), waiting func(string)) {
	defer func() {
		for _, r := range p.release {
			r()
		}
	}()
	for i, s := range p.sources {
		if ref, _, _, ok := sourceObject(p.w.key.Namespace, s); ok {
			o, release := p.w.k.objects.use(ref, p.notify)
			p.objects[i], p.release = o, append(p.release, release)
		}
	}
	delay := firstRetry
	for {
		missing, err := p.update(ctx)
		var again <-chan time.Time
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			p.w.log.Debug("volume not written, trying again", "volume", p.name, "error", err)
			waiting(fmt.Sprintf("volume %q: %v", p.name, err))
			again = time.After(delay)
			delay = min(2*delay, lastRetry)
		case missing != "":
			waiting(fmt.Sprintf("volume %q: %s", p.name, missing))
		default:
			delay = firstRetry
			shown()
		}
		if at := p.nextRefresh(); again == nil && !at.IsZero() {
			again = time.After(time.Until(at))
		}
		select {
		case <-ctx.Done():
			return
		case <-p.notify:
		case <-again:
		}
	}
}

// update publishes the present content if it is complete and differs. missing says what it waits for.
func (p *projectedVolume) update(ctx context.Context) (missing string, err error) {
	content := payload{}
	for i, s := range p.sources {
		if missing, err = p.collect(ctx, content, i, s); missing != "" || err != nil {
			return missing, err
		}
	}
	if p.shown != nil && content.equal(p.shown) {
		return "", nil
	}
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return "", fmt.Errorf("creating volume: %w", err)
	}
	if err := publish(p.dir, content, p.nextFree); err != nil {
		return "", err
	}
	p.shown = content
	p.nextFree++
	return "", nil
}

// sourceObject names the object that a source shows, if it shows one.
func sourceObject(namespace string, s corev1.VolumeProjection) (ref objectRef, items []corev1.KeyToPath, optional, ok bool) {
	switch {
	case s.Secret != nil:
		return objectRef{secretKind, namespace, s.Secret.Name}, s.Secret.Items, isTrue(s.Secret.Optional), true
	case s.ConfigMap != nil:
		return objectRef{configMapKind, namespace, s.ConfigMap.Name}, s.ConfigMap.Items, isTrue(s.ConfigMap.Optional), true
	}
	return objectRef{}, nil, false, false
}

func (p *projectedVolume) collect(ctx context.Context, content payload, i int, s corev1.VolumeProjection) (missing string, err error) {
	if ref, items, optional, ok := sourceObject(p.w.key.Namespace, s); ok {
		return p.collectObject(content, p.objects[i], ref, items, optional)
	}
	switch {
	case s.ServiceAccountToken != nil:
		if err := p.refreshToken(ctx, i, s.ServiceAccountToken); err != nil {
			return "", err
		}
		// Root in the container reads it whatever the mode; the API's default is 0644 like for other files.
		return "", content.add(s.ServiceAccountToken.Path, file{[]byte(p.tokens[i].text), p.mode})
	case s.DownwardAPI != nil:
		pod := p.w.podWithAddresses()
		for _, item := range s.DownwardAPI.Items {
			var value string
			switch {
			case item.FieldRef != nil:
				value, err = fieldValue(pod, item.FieldRef.FieldPath)
			case item.ResourceFieldRef != nil:
				value, err = resourceValue(pod, item.ResourceFieldRef.ContainerName, item.ResourceFieldRef)
			}
			if err == nil {
				err = content.add(item.Path, file{[]byte(value), p.itemMode(item.Mode)})
			}
			if err != nil {
				return "", err
			}
		}
		return "", nil
	}
	return "", fmt.Errorf("source %d of the volume is of a kind that the lab does not know", i)
}

func (p *projectedVolume) collectObject(content payload, o *object, ref objectRef, items []corev1.KeyToPath, optional bool) (missing string, err error) {
	data, exists, known := o.get()
	switch {
	case !known:
		return ref.String() + lookingUp, nil
	case !exists && optional:
		return "", nil
	case !exists:
		return fmt.Sprintf("%v not found", ref), nil
	}
	if len(items) == 0 {
		for key, value := range data {
			if err := content.add(key, file{value, p.mode}); err != nil {
				return "", err
			}
		}
		return "", nil
	}
	for _, item := range items {
		value, ok := data[item.Key]
		switch {
		case !ok && optional:
			continue
		case !ok:
			return fmt.Sprintf("%v has no key %q", ref, item.Key), nil
		}
		if err := content.add(item.Path, file{value, p.itemMode(item.Mode)}); err != nil {
			return "", err
		}
	}
	return "", nil
}

func (p *projectedVolume) itemMode(m *int32) fs.FileMode {
	if m == nil {
		return p.mode
	}
	return fs.FileMode(*m) & fs.ModePerm
}

// refreshToken asks for a token bound to the pod, unless the present one still has enough life in it.
func (p *projectedVolume) refreshToken(ctx context.Context, i int, s *corev1.ServiceAccountTokenProjection) error {
	if t := p.tokens[i]; t != nil && time.Now().Before(t.refresh) {
		return nil
	}
	seconds := int64(defaultTokenSeconds)
	if s.ExpirationSeconds != nil {
		seconds = *s.ExpirationSeconds
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: &seconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: p.w.key.Name, UID: p.w.uid},
	}}
	if s.Audience != "" {
		request.Spec.Audiences = []string{s.Audience}
	}
	account := p.w.current().Spec.ServiceAccountName
	if account == "" {
		account = "default"
	}
	asked := time.Now()
	answer, err := p.w.k.client.CoreV1().ServiceAccounts(p.w.key.Namespace).CreateToken(ctx, account, request, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("requesting a token of service account %q: %w", account, err)
	}
	// As in a cluster: renewed when a fifth of its life is left.
	life := answer.Status.ExpirationTimestamp.Sub(asked)
	p.tokens[i] = &token{text: answer.Status.Token, refresh: asked.Add(life * 4 / 5)}
	return nil
}

// nextRefresh is when the first token wants to be renewed; zero without tokens.
func (p *projectedVolume) nextRefresh() time.Time {
	var next time.Time
	for _, t := range p.tokens {
		if t != nil && (next.IsZero() || t.refresh.Before(next)) {
			next = t.refresh
		}
	}
	return next
}

func isTrue(b *bool) bool { return b != nil && *b }

// quoteMap renders labels or annotations the way the downward API shows them.
func quoteMap(key, value string) string { return key + "=" + strconv.Quote(value) }
