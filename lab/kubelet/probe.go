// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package kubelet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Pace of a probe until it succeeds for the first time, slowing down from the first to the second: a lab waits
// for programs to start as long as they need and no longer.
const (
	firstPace = 10 * time.Millisecond
	calmPace  = 100 * time.Millisecond
)

// probeLoop turns single checks into verdicts.
type probeLoop struct {
	initialDelay, period, timeout time.Duration
	successes, failures           int // in a row, for a verdict
	check                         func(context.Context) error
	good                          func()
	bad                           func(error)
}

// newProbeLoop applies the API's defaults.
func newProbeLoop(p *corev1.Probe) probeLoop {
	seconds := func(n, otherwise int32) time.Duration {
		if n <= 0 {
			n = otherwise
		}
		return time.Duration(n) * time.Second
	}
	l := probeLoop{
		initialDelay: time.Duration(p.InitialDelaySeconds) * time.Second,
		period:       seconds(p.PeriodSeconds, 10),
		timeout:      seconds(p.TimeoutSeconds, 1),
		successes:    int(p.SuccessThreshold),
		failures:     int(p.FailureThreshold),
	}
	if l.successes <= 0 {
		l.successes = 1
	}
	if l.failures <= 0 {
		l.failures = 3
	}
	return l
}

// run checks until ctx ends. It calls good and bad on each verdict, also when it repeats the one before.
func (l probeLoop) run(ctx context.Context) {
	if pause(ctx, l.initialDelay) != nil {
		return
	}
	succeeded := false
	inRow, failedInRow := 0, 0
	var counted time.Time
	pace := firstPace
	for {
		checkCtx, cancel := context.WithTimeout(ctx, l.timeout)
		err := l.check(checkCtx)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			succeeded, failedInRow = true, 0
			if inRow++; inRow >= l.successes {
				l.good()
			}
		} else {
			inRow = 0
			// The quick checks at the beginning must not use up the failures that the pod spec allows.
			if now := time.Now(); succeeded || now.Sub(counted) >= l.period {
				counted = now
				if failedInRow++; failedInRow >= l.failures {
					l.bad(err)
				}
			}
		}
		next := l.period
		if !succeeded {
			next, pace = min(pace, l.period), min(2*pace, calmPace)
		}
		if pause(ctx, next) != nil {
			return
		}
	}
}

// startProbes runs the container's probes until ctx ends; done is closed when they have ended. The reason to
// restart the container, if one comes up, is sent once.
func (c *container) startProbes(ctx context.Context) (unhealthy <-chan string, done <-chan struct{}) {
	verdict, ended := make(chan string, 1), make(chan struct{})
	restart := func(kind string) func(error) {
		return func(err error) {
			text := fmt.Sprintf("%s probe failed: %v", kind, err)
			select {
			case verdict <- text:
				c.w.event(corev1.EventTypeWarning, "Unhealthy", text)
			default:
			}
		}
	}
	go func() {
		defer close(ended)
		if p := c.spec.StartupProbe; p != nil {
			startup, finish := context.WithCancel(ctx)
			c.probe(startup, p, func() { c.setStarted(); finish() }, restart("startup"))
			finish()
		}
		var wg sync.WaitGroup
		defer wg.Wait()
		if p := c.spec.LivenessProbe; p != nil && ctx.Err() == nil {
			wg.Go(func() { c.probe(ctx, p, func() {}, restart("liveness")) })
		}
		if p := c.spec.ReadinessProbe; p != nil && ctx.Err() == nil {
			wg.Go(func() { c.probe(ctx, p, func() { c.setReady(true) }, c.unready) })
		}
	}()
	return verdict, ended
}

func (c *container) probe(ctx context.Context, p *corev1.Probe, good func(), bad func(error)) {
	l := newProbeLoop(p)
	l.check, l.good, l.bad = func(ctx context.Context) error { return c.check(ctx, p) }, good, bad
	l.run(ctx)
}

// setStarted is the verdict of the startup probe.
func (c *container) setStarted() {
	c.w.mu.Lock()
	c.started = true
	c.ready = c.ready || c.spec.ReadinessProbe == nil
	c.w.mu.Unlock()
	c.w.signal()
}

func (c *container) unready(err error) {
	c.w.mu.Lock()
	was := c.ready
	c.w.mu.Unlock()
	if was {
		c.w.log.Info("container is not ready", "container", c.spec.Name, "error", err)
		c.w.event(corev1.EventTypeWarning, "Unhealthy", fmt.Sprintf("readiness probe failed: %v", err))
	}
	c.setReady(false)
}

// check makes one check.
func (c *container) check(ctx context.Context, p *corev1.Probe) error {
	c.w.mu.Lock()
	ip := c.w.ip.String()
	var pid int
	if c.proc != nil {
		pid = c.proc.cmd.Process.Pid
	}
	c.w.mu.Unlock()
	switch {
	case p.HTTPGet != nil:
		return c.checkHTTP(ctx, p.HTTPGet, ip)
	case p.TCPSocket != nil:
		return c.checkTCP(ctx, p.TCPSocket.Host, ip, p.TCPSocket.Port)
	case p.GRPC != nil: // whether the port accepts is all that the lab looks at
		return c.checkTCP(ctx, "", ip, intstr.FromInt32(p.GRPC.Port))
	case p.Exec != nil && len(p.Exec.Command) > 0:
		return execIn(ctx, c.w.inNetwork, pid, p.Exec.Command, nil, c.spec.WorkingDir)
	}
	return errors.New("the probe has no check that the lab knows")
}

func (c *container) checkTCP(ctx context.Context, host, ip string, port intstr.IntOrString) error {
	number, err := c.port(port)
	if err != nil {
		return err
	}
	if host == "" {
		host = ip
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(number)))
	if err != nil {
		return err
	}
	return conn.Close()
}

// checkHTTP accepts what the API says: any status from 200 to 399, and any certificate.
func (c *container) checkHTTP(ctx context.Context, g *corev1.HTTPGetAction, ip string) error {
	number, err := c.port(g.Port)
	if err != nil {
		return err
	}
	host := g.Host
	if host == "" {
		host = ip
	}
	scheme := "http"
	if g.Scheme != "" {
		scheme = strings.ToLower(string(g.Scheme))
	}
	path := "/" + strings.TrimPrefix(g.Path, "/")
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+net.JoinHostPort(host, strconv.Itoa(number))+path, nil)
	if err != nil {
		return fmt.Errorf("probe request: %w", err)
	}
	r.Header.Set("User-Agent", "kube-probe/drydock-lab")
	for _, h := range g.HTTPHeaders {
		if strings.EqualFold(h.Name, "Host") {
			r.Host = h.Value
			continue
		}
		r.Header.Add(h.Name, h.Value)
	}
	client := http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // a probe asks whether the container answers, not who it is
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	if err := answer.Body.Close(); err != nil {
		return err
	}
	if answer.StatusCode < 200 || answer.StatusCode >= 400 {
		return fmt.Errorf("status %s", answer.Status)
	}
	return nil
}

// port looks up a port by number or by the name of a container port.
func (c *container) port(p intstr.IntOrString) (int, error) {
	if p.Type == intstr.Int {
		return p.IntValue(), nil
	}
	i := slices.IndexFunc(c.spec.Ports, func(have corev1.ContainerPort) bool { return have.Name == p.StrVal })
	if i < 0 {
		return 0, fmt.Errorf("no container port %q", p.StrVal)
	}
	return int(c.spec.Ports[i].ContainerPort), nil
}
