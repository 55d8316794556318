// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package operatorcli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/cli"
)

// redrawPause keeps the answer from being renewed more often than an eye can follow, tick is how often a live
// table is drawn when nothing changes, for the ages in it.
const (
	redrawPause = 100 * time.Millisecond
	tick        = time.Second
)

// watchStatus keeps showing the fleet until ctx ends.
func (t *tool) watchStatus(ctx context.Context, c *cluster, out *format) error {
	// The first look says what is wrong where the watches below would only try again.
	first, cancel := t.bounded(ctx, readTimeout)
	f, err := t.load(first, c)
	cancel()
	if err != nil {
		return err
	}
	for _, w := range f.warnings() {
		t.warn("%s", w)
	}
	w, err := t.startWatcher(ctx, c, f.settings)
	if err != nil {
		return err
	}
	defer w.stop()
	show := t.shower(out)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		if err := show.show(f, t.Now(), w.line.trouble()); err != nil {
			return fmt.Errorf("printing the nodes: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C: // ages grow, and pauses end
		case <-w.changed:
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(redrawPause): // changes that come together are shown together
			}
		}
		if f, err = w.fleet(ctx, t); err != nil {
			return err
		}
	}
}

// watcher holds the fleet in memory and is told of changes.
type watcher struct {
	cache     cache.Cache
	namespace string
	direct    *cluster
	// settings are those of the Deployment in the version of that name; or those at the start, when the
	// Deployment cannot be watched.
	settings settings
	version  string
	// changed has one element when something changed since it was last taken.
	changed chan struct{}
	// lastErr is why the first filling of the memory fails.
	lastErr chan error
	line    *line
	stop    func()
}

// startWatcher returns once everything is in memory.
func (t *tool) startWatcher(ctx context.Context, c *cluster, known settings) (*watcher, error) {
	w := &watcher{
		namespace: c.namespace, direct: c, settings: known,
		changed: make(chan struct{}, 1), lastErr: make(chan error, 1),
	}
	w.line = &line{changed: func() { offer(w.changed, struct{}{}) }}
	access := rest.CopyConfig(c.rest)
	access.Wrap(w.line.wrap)
	inNamespace := map[string]cache.Config{c.namespace: {}}
	byObject := map[client.Object]cache.ByObject{
		&v2.BottlerocketShadow{}: {Namespaces: inNamespace},
		&corev1.Node{}:           {Label: labels.SelectorFromSet(labels.Set(optedIn))},
	}
	if known.problem == nil {
		byObject[&appsv1.Deployment{}] = cache.ByObject{
			Namespaces: inNamespace, Label: labels.SelectorFromSet(labels.Set{v2.ComponentLabel: controllerComponent}),
		}
	}
	var err error
	if w.cache, err = cache.New(access, cache.Options{
		Scheme: scheme(), Mapper: mapper(), ByObject: byObject, ReaderFailOnMissingInformer: true,
		DefaultTransform: cache.TransformStripManagedFields(),
		DefaultWatchErrorHandler: func(_ context.Context, _ *toolscache.Reflector, err error) {
			offer(w.lastErr, err)
		},
	}); err != nil {
		return nil, fmt.Errorf("setting up the watches: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	w.stop = func() {
		cancel()
		<-done
	}
	tell := toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { offer(w.changed, struct{}{}) },
		UpdateFunc: func(any, any) { offer(w.changed, struct{}{}) },
		DeleteFunc: func(any) { offer(w.changed, struct{}{}) },
	}
	for obj := range byObject {
		informer, err := w.cache.GetInformer(ctx, obj, cache.BlockUntilSynced(false))
		if err == nil {
			_, err = informer.AddEventHandler(tell)
		}
		if err != nil {
			cancel()
			return nil, fmt.Errorf("watching %T: %w", obj, err)
		}
	}
	go func() {
		defer close(done)
		_ = w.cache.Start(ctx) // ends with ctx; what goes wrong before goes to the error handler
	}()
	syncing, stopSync := t.bounded(ctx, readTimeout)
	defer stopSync()
	if !w.cache.WaitForCacheSync(syncing) && ctx.Err() == nil {
		err := context.Cause(syncing)
		select {
		case err = <-w.lastErr:
		default:
		}
		w.stop()
		return nil, c.explain(err, "watch", shadows+" and "+nodes)
	}
	return w, nil
}

// offer gives v away unless something is waiting there already.
func offer[T any](ch chan T, v T) {
	select {
	case ch <- v:
	default:
	}
}

// fleet returns the fleet as it is now in memory.
func (w *watcher) fleet(ctx context.Context, t *tool) (*fleet, error) {
	var nodeList corev1.NodeList
	var shadowList v2.BottlerocketShadowList
	if err := w.cache.List(ctx, &nodeList); err != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("listing nodes: %w", err)
	}
	if err := w.cache.List(ctx, &shadowList, client.InNamespace(w.namespace)); err != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("listing shadows: %w", err)
	}
	w.renewSettings(ctx, t)
	return &fleet{nodes: nodeList.Items, shadows: shadowList.Items, settings: w.settings}, nil
}

// renewSettings reads the settings again when the controller's Deployment has changed. It also changes, in its
// status, when a replica goes and comes, and with that another may lead.
func (w *watcher) renewSettings(ctx context.Context, t *tool) {
	var list appsv1.DeploymentList
	if err := w.cache.List(ctx, &list, client.InNamespace(w.namespace)); err != nil || len(list.Items) == 0 {
		return
	}
	d := &list.Items[0]
	if d.ResourceVersion == w.version {
		return
	}
	leader, node := w.direct.leader(ctx)
	w.settings, w.version = t.settingsOf(d, node), d.ResourceVersion
	w.settings.leader = leader
}

// shower prints one look at the fleet after the other.
type shower struct {
	out    io.Writer
	stderr io.Writer
	format *format
	screen screen
	said   map[string]nodeReport // when not live
	empty  bool                  // said that there is no node
	drawn  int                   // lines of the table on the screen
	note   string                // trouble with the connection
}

func (t *tool) shower(out *format) *shower {
	s := &shower{out: t.Stdout, stderr: t.Stderr, format: out, said: map[string]nodeReport{}}
	if s.screen = t.screen(); out.data() {
		s.screen.live = false
	}
	return s
}

func (s *shower) show(f *fleet, now time.Time, lost error) error {
	report := f.report(now)
	note := ""
	if lost != nil {
		note = "the cluster does not answer, trying again: " + short(lost)
	}
	news := (note == "") != (s.note == "")
	s.note = note
	if s.screen.live {
		return s.draw(f, report, now)
	}
	switch {
	case news && note != "":
		fmt.Fprintf(s.stderr, "drydock: warning: %s\n", note)
	case news:
		fmt.Fprintln(s.stderr, "The cluster answers again.")
	}
	if len(report) == 0 && !s.empty {
		fmt.Fprintln(s.stderr, nobody)
	}
	s.empty = len(report) == 0
	return s.lines(report, now)
}

// lines prints what changed since the last look.
func (s *shower) lines(report []nodeReport, now time.Time) error {
	seen := map[string]bool{}
	for _, r := range report {
		seen[r.Name] = true
		before, ok := s.said[r.Name]
		s.said[r.Name] = r
		if ok && (reflect.DeepEqual(before, r) || !s.format.data() && sentence(&before) == sentence(&r)) {
			continue
		}
		if err := s.line(&r, now); err != nil {
			return err
		}
	}
	for name := range s.said {
		if !seen[name] {
			delete(s.said, name)
			if !s.format.data() {
				fmt.Fprintf(s.out, "%s  %s  gone\n", now.Format(time.TimeOnly), name)
			}
		}
	}
	return nil
}

func (s *shower) line(r *nodeReport, now time.Time) error {
	switch *s.format {
	case asJSON:
		return json.NewEncoder(s.out).Encode(r)
	case asYAML:
		doc, err := yaml.Marshal(r)
		if err == nil {
			_, err = fmt.Fprintf(s.out, "---\n%s", doc)
		}
		return err
	}
	_, err := fmt.Fprintln(s.out, now.Format(time.TimeOnly)+"  "+sentence(r))
	return err
}

// sentence is a node on one line.
func sentence(r *nodeReport) string {
	parts := []string{r.Name}
	for _, p := range []string{r.state(), r.Version} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	if r.Slot != "" {
		parts = append(parts, "slot "+r.Slot)
	}
	if d := r.doing(); d != "" {
		parts = append(parts, d)
	}
	return printable(strings.Join(parts, "  "))
}

// draw puts the table where the last one was. The sequences are ECMA-48's CUU and ED.
func (s *shower) draw(f *fleet, report []nodeReport, now time.Time) error {
	width, height := s.screen.size()
	tail := []string{"", f.summary(report, now)}
	for _, w := range f.warnings() {
		tail = append(tail, "warning: "+w)
	}
	if s.note != "" {
		tail = append(tail, "warning: "+s.note)
	}
	tail = append(tail, "", "Ctrl-C ends the watch.")
	// A table that is higher than the screen could not be drawn over: nodes that are at rest go first.
	shown, hidden := fit(report, height-len(tail)-3)
	if hidden > 0 {
		tail[0] = fmt.Sprintf("… and %s more at rest", cli.Count(hidden, "node"))
	}
	var b strings.Builder
	if s.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\x1b[J", s.drawn)
	}
	var body strings.Builder
	// A line that wraps would make the next drawing start too low.
	if len(report) == 0 {
		tail[0] = nobody
	} else if err := s.table(shown, now, width).write(&body, width, s.screen.colour); err != nil {
		return err
	}
	for _, line := range tail {
		if line = printable(line); width > 0 && len([]rune(line)) > width {
			line = string([]rune(line)[:width-1]) + "…"
		}
		body.WriteString(line + "\n")
	}
	s.drawn = strings.Count(body.String(), "\n")
	b.WriteString(body.String())
	_, err := io.WriteString(s.out, b.String())
	return err
}

// roomToTell is what the sentence about a node gets on a narrow screen, before other columns do.
const roomToTell = 36

// table is the one of status as far as the screen has room for it: what a node does goes before what can be looked up.
func (s *shower) table(report []nodeReport, now time.Time, width int) *grid {
	wide := *s.format == wideTable
	g := statusTable(report, now, wide)
	if wide {
		return g
	}
	dispensable := []string{"SLOT", "TARGET", "SINCE"}
	if !slices.ContainsFunc(report, func(r nodeReport) bool { return r.Failures > 0 }) {
		dispensable = slices.Insert(dispensable, 0, "FAILURES")
	}
	g.narrow(width, roomToTell, dispensable...)
	return g
}

// fit chooses at most room nodes to show, failed and moving ones before others. Without a known room all are.
func fit(report []nodeReport, room int) (shown []nodeReport, hidden int) {
	if room < 1 || len(report) <= room {
		return report, 0
	}
	rank := func(r *nodeReport) int {
		switch {
		case r.Failed, r.needsHelp():
			return 0
		case r.moving():
			return 1
		case !r.upToDate():
			return 2
		}
		return 3
	}
	shown = slices.Clone(report)
	slices.SortStableFunc(shown, func(a, b nodeReport) int { return rank(&a) - rank(&b) })
	shown = shown[:room]
	slices.SortFunc(shown, func(a, b nodeReport) int { return strings.Compare(a.Name, b.Name) })
	return shown, len(report) - room
}
