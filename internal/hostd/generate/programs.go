// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package generate

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/drydock-os/drydock/internal/hostd/rootdir"
	"github.com/drydock-os/drydock/internal/hostd/settings"
	"github.com/drydock-os/drydock/internal/hostd/template"
)

const (
	timeLimit  = 360 * time.Second // of one program, as the original has it
	maxPrinted = 1 << 20           // bytes
	afterKill  = 2 * time.Second   // for output of children of a program that was killed
	skipCode   = 2
	waves      = 2048 // places in the waves of an update

	// typesFile has how many pods an instance type has addresses for: lines of type and number, below the root.
	typesFile = "/usr/share/eks/eni-max-pods"
)

// Cloud tells about the instance that the host is.
type Cloud interface {
	Region(context.Context) (string, error)
	Meta(ctx context.Context, name string) (string, error) // "": not there
}

// Programs runs generators. Fields are required unless they name a default.
type Programs struct {
	Root     string
	Settings map[string]any // what templates see: settings and os
	Arch     string         // of the host, such as x86_64
	Cloud    Cloud          // default: none; generators that ask it leave their settings unset
	Random   *rand.Rand
	Hostname func() (string, error) // what the host is called when nobody has said
}

// Generate runs the image's program of that name, or ours.
func (p Programs) Generate(ctx context.Context, words []string) ([]byte, error) {
	name := words[0]
	if !filepath.IsAbs(name) {
		name = "/usr/bin/" + name
	}
	name, err := filepath.Abs(filepath.Join(p.Root, name))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(name); err == nil {
		return p.run(ctx, name, words[1:])
	}
	v, err := p.own(ctx, words)
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

func (p Programs) run(ctx context.Context, name string, args []string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = afterKill
	var err error
	if cmd.Env, err = rootdir.Environment(p.Root); err != nil {
		return nil, err
	}
	cmd.Env = append(cmd.Env, p.proxies()...)
	var out, errs limited
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == skipCode {
		return nil, ErrSkip
	}
	if err != nil {
		return nil, fmt.Errorf("running %s: %w: %s", name, err, bytes.TrimSpace(errs.Bytes()))
	}
	return out.Bytes(), nil
}

// proxies are the settings for programs that ask something outside of the host, as variables.
func (p Programs) proxies() []string {
	settings, _ := p.Settings["settings"].(map[string]any)
	network, _ := settings["network"].(map[string]any)
	proxy, _ := network["https-proxy"].(string)
	if proxy == "" {
		return nil
	}
	around := []string{"localhost", "127.0.0.1", "169.254.169.254"} // as in the file for services
	list, _ := network["no-proxy"].([]any)
	for _, v := range list {
		if name, ok := v.(string); ok {
			around = append(around, name)
		}
	}
	names := strings.Join(around, ",")
	return []string{"HTTPS_PROXY=" + proxy, "https_proxy=" + proxy, "NO_PROXY=" + names, "no_proxy=" + names}
}

// limited refuses more than maxPrinted bytes, which ends the program.
type limited struct{ bytes.Buffer }

func (l *limited) Write(b []byte) (int, error) {
	if l.Len()+len(b) > maxPrinted {
		return 0, io.ErrShortBuffer
	}
	return l.Buffer.Write(b)
}

// own generates what programs of the original do.
func (p Programs) own(ctx context.Context, words []string) (any, error) {
	args := words[1:]
	switch command := strings.Join(words[:min(2, len(words))], " "); command {
	case "bork seed":
		return p.Random.IntN(waves), nil
	case "schnauzer-v2 render":
		return p.template(args[1:])
	case "netdog generate-hostname":
		return usableName(p.Hostname())
	case "netdog node-ip":
		return p.outboundAddress(ctx)
	case "shibaken generate-admin-userdata":
		return p.adminKeys(ctx)
	case "pluto max-pods":
		return p.maxPods(ctx)
	case "pluto node-ip":
		return p.nodeIP(ctx)
	case "pluto cluster-dns-ip":
		return p.clusterDNS(ctx)
	case "pluto pod-infra-container-image":
		return p.pauseImage(ctx)
	case "pluto provider-id":
		zone, err := p.meta(ctx, "placement/availability-zone")
		if err != nil {
			return nil, err
		}
		id, err := p.meta(ctx, "instance-id")
		return "aws:///" + zone + "/" + id, err
	case "pluto hostname-override":
		return p.hostnameOverride(ctx)
	default:
		return nil, fmt.Errorf("this host has no generator %q", command)
	}
}

// template renders the template of a command line; what it requires is known anyway.
func (p Programs) template(args []string) (any, error) {
	for i, arg := range args {
		if arg != "--template" || i+1 == len(args) {
			continue
		}
		t, err := template.Parse(args[i+1])
		if err != nil {
			return nil, err
		}
		return t.Render(p.Settings)
	}
	return nil, errors.New("the flag --template is required")
}

// meta returns metadata of the instance, or ErrSkip when there is no instance or no such metadata.
func (p Programs) meta(ctx context.Context, name string) (string, error) {
	if p.Cloud == nil {
		return "", ErrSkip
	}
	v, err := p.Cloud.Meta(ctx, name)
	if err == nil && v == "" {
		err = ErrSkip
	}
	return v, err
}

func (p Programs) maxPods(ctx context.Context) (any, error) {
	instance, err := p.meta(ctx, "instance-type")
	if err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(p.Root, typesFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrSkip
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(io.LimitReader(f, maxPrinted)); lines.Scan(); {
		var name string
		var pods uint32
		if n, _ := fmt.Sscan(lines.Text(), &name, &pods); n == 2 && name == instance {
			return pods, nil
		}
	}
	return nil, ErrSkip // the kubelet has a default
}

// clusterDNS picks the service network that EKS gives to clusters, which depends on that of the instance.
func (p Programs) clusterDNS(ctx context.Context) (any, error) {
	mac, err := p.meta(ctx, "mac")
	if err != nil {
		return nil, err
	}
	networks, err := p.meta(ctx, "network/interfaces/macs/"+mac+"/vpc-ipv4-cidr-blocks")
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(networks, "10.") {
		return "172.20.0.10", nil
	}
	return "10.100.0.10", nil
}

func (p Programs) pauseImage(ctx context.Context) (any, error) {
	if p.Cloud == nil {
		return nil, ErrSkip
	}
	region, err := p.Cloud.Region(ctx)
	if err != nil {
		return nil, err
	}
	if region == "" {
		return nil, ErrSkip
	}
	arch := "amd64"
	if p.Arch == "aarch64" {
		arch = "arm64"
	}
	return "602401143452.dkr.ecr." + region + ".amazonaws.com/eks/pause-" + arch + ":3.1", nil
}

func (p Programs) hostnameOverride(ctx context.Context) (any, error) {
	s, _ := p.Settings["settings"].(map[string]any)
	k, _ := s["kubernetes"].(map[string]any)
	switch k["hostname-override-source"] {
	case "instance-id":
		return usableName(p.meta(ctx, "instance-id"))
	case "private-dns-name":
		return usableName(p.meta(ctx, "local-hostname"))
	}
	return nil, ErrSkip
}

// usableName leaves a setting unset whose value would be refused, which would stop the boot: clouds and networks give
// names that are none, such as two at once.
func usableName(name string, err error) (any, error) {
	if err == nil && !settings.IsHostname(name) {
		err = ErrSkip
	}
	return name, err
}

// nodeIP returns the address of the family that the cluster's DNS has: a node of an IPv6 cluster is known by IPv6.
func (p Programs) nodeIP(ctx context.Context) (any, error) {
	if !p.overIPv6() {
		return p.meta(ctx, "local-ipv4")
	}
	mac, err := p.meta(ctx, "mac")
	if err != nil {
		return nil, err
	}
	list, err := p.meta(ctx, "network/interfaces/macs/"+mac+"/ipv6s")
	first, _, _ := strings.Cut(list, "\n")
	return strings.TrimSpace(first), err
}

// overIPv6 reports whether the first address of the cluster's DNS is one of IPv6.
func (p Programs) overIPv6() bool {
	s, _ := p.Settings["settings"].(map[string]any)
	k, _ := s["kubernetes"].(map[string]any)
	dns := k["cluster-dns-ip"]
	if list, is := dns.([]any); is && len(list) > 0 {
		dns = list[0]
	}
	text, _ := dns.(string)
	a, err := netip.ParseAddr(text)
	return err == nil && a.Is6()
}

// adminKeys makes user data for the admin container of the keys that the instance was started with.
func (p Programs) adminKeys(ctx context.Context) (any, error) {
	list, err := p.meta(ctx, "public-keys")
	if err != nil {
		return nil, err
	}
	var keys []string
	for line := range strings.Lines(list) {
		index, _, _ := strings.Cut(strings.TrimSpace(line), "=")
		key, err := p.meta(ctx, "public-keys/"+index+"/openssh-key")
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	data, err := json.Marshal(map[string]any{"ssh": map[string]any{"authorized-keys": keys}})
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.EncodeToString(data), nil
}

// outboundAddress returns the address that the host's packets to other networks have, of the family of the cluster's
// DNS if there is one. No packet is sent.
func (p Programs) outboundAddress(ctx context.Context) (any, error) {
	networks := []string{"192.0.2.1:9", "[2001:db8::1]:9"} // those kept for documentation
	if p.overIPv6() {
		slices.Reverse(networks)
	}
	for _, to := range networks {
		c, err := (&net.Dialer{}).DialContext(ctx, "udp", to)
		if err != nil {
			continue
		}
		host, _, err := net.SplitHostPort(c.LocalAddr().String())
		if closeErr := c.Close(); err == nil && closeErr == nil {
			return host, nil
		}
	}
	return nil, ErrSkip
}
