// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"

	brupopv2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/lab/sandbox"
)

// The names of the ports that are opened outside of the sandbox for what is inside.
const (
	PortKube = "Kubernetes API"
	PortRepo = "update repository"
)

// Access is how to reach the parts of a lab from outside of it.
type Access struct {
	Kubeconfig string `json:"kubeconfig"` // path; usable with kubectl on this machine
	Repository string `json:"repository"` // URL on this machine
	// RepositoryInside is the URL that the hosts use.
	RepositoryInside string       `json:"repository_inside"`
	Dir              string       `json:"dir"`
	Hosts            []HostAccess `json:"hosts"`

	operator bool
}

// HostAccess is where the parts of one host are.
type HostAccess struct {
	Name   string `json:"name"`
	Dir    string `json:"dir"`
	Socket string `json:"socket"`
	Disk   string `json:"disk"`
}

// Open lets connections from outside in, until Close, and says how to use them. kube and repo are the
// addresses that the keeper listens on.
func (l *Lab) Open(ctx context.Context, kube, repo string) (*Access, error) {
	a := &Access{
		Kubeconfig:       filepath.Join(l.cfg.Dir, "kubeconfig"),
		Repository:       "http://" + repo + "/",
		RepositoryInside: l.repo.url(),
		Dir:              l.cfg.Dir,
		operator:         !l.cfg.WithoutOperator,
	}
	for _, m := range l.machines {
		a.Hosts = append(a.Hosts, HostAccess{
			Name: filepath.Base(filepath.Dir(m.Disk())), Dir: filepath.Dir(m.Disk()), Socket: m.Socket(), Disk: m.Disk(),
		})
	}
	if err := l.plane.Kubeconfig(a.Kubeconfig, "https://"+kube); err != nil {
		return nil, err
	}
	targets := map[string]string{PortKube: kubernetesIP.String() + ":443", PortRepo: l.repo.address()}
	l.spawn("the way in", func() error { return sandbox.Receive(ctx, targets, l.cfg.Log) })
	return a, nil
}

// Print writes the ways in for a person.
func (a *Access) Print(w io.Writer) {
	fmt.Fprintf(w, "\nkubeconfig: %s\n  try: kubectl --kubeconfig %s get nodes\n", a.Kubeconfig, a.Kubeconfig)
	if a.operator {
		fmt.Fprintf(w, "  roll: kubectl --kubeconfig %s label nodes --all %s=%s\n", a.Kubeconfig, brupopv2.UpdaterInterfaceLabel, brupopv2.UpdaterInterfaceVersion)
	}
	fmt.Fprintf(w, "repository: %s (the hosts use %s)\n", a.Repository, a.RepositoryInside)
	fmt.Fprintf(w, "directory:  %s\n\n", a.Dir)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "HOST\tSOCKET\tDISK")
	for _, h := range a.Hosts {
		fmt.Fprintf(tw, "%s\t%s\t%s\n", h.Name, h.Socket, h.Disk)
	}
	tw.Flush()
}

// PrintJSON writes them as one JSON document.
func (a *Access) PrintJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(a); err != nil {
		return fmt.Errorf("printing the ways in: %w", err)
	}
	return nil
}
