// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package fleet

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	brupopv2 "github.com/drydock-os/drydock/api/brupop/v2"
	"github.com/drydock-os/drydock/internal/agentapi"
	"github.com/drydock-os/drydock/internal/osimage"
	"github.com/drydock-os/drydock/lab/crowd"
	"github.com/drydock-os/drydock/lab/machine"
)

// Simulated says that the nodes are a crowd (see package crowd) beside a few real ones, on which the processes of the
// operator run.
type Simulated struct {
	StageTime time.Duration // how long a host writes an image
	// Apiservers is the number of replicas; 0 for what the manifest says.
	Apiservers int
	// Idle is how long the fleet is watched after the roll, when nothing is to be done; 0 for not at all.
	Idle time.Duration
	// Restart kills the controller that leads after that, and watches what is read anew.
	Restart bool
}

// systemNodes run the controller and the apiserver.
const systemNodes = 2

// firstSystemNode is outside of the addresses that nodeAddress counts through.
var firstSystemNode = netip.MustParseAddr("10.0.0.11")

// adapt makes the manifest fit for a crowd: agents may go where nothing else of the operator may.
func (s *Simulated) adapt(m manifest) error {
	for _, o := range m {
		switch {
		case o.GetKind() == "DaemonSet":
			tolerate := []any{map[string]any{"key": crowd.Mark, "operator": "Exists"}}
			if err := unstructured.SetNestedSlice(o.Object, tolerate, "spec", "template", "spec", "tolerations"); err != nil {
				return fmt.Errorf("adapting the agents: %w", err)
			}
		case o.GetKind() == "Deployment" && o.GetName() == "brupop-apiserver" && s.Apiservers > 0:
			if err := unstructured.SetNestedField(o.Object, int64(s.Apiservers), "spec", "replicas"); err != nil {
				return fmt.Errorf("adapting the apiserver: %w", err)
			}
		}
	}
	return nil
}

// gather starts the system nodes and the crowd.
func (l *Lab) gather(ctx context.Context) error {
	for i := range systemNodes {
		name := "system-" + strconv.Itoa(i+1)
		b := firstSystemNode.As4()
		b[3] += byte(i)
		address := netip.AddrFrom4(b)
		if err := l.network.AddAddress(address); err != nil {
			return fmt.Errorf("making the address of %s: %w", name, err)
		}
		rc, err := l.plane.ClientConfig("system:node:"+name, "system:nodes")
		if err != nil {
			return fmt.Errorf("making the identity of %s: %w", name, err)
		}
		boot := machine.Boot{Number: 1, ID: uuid.NewString(), Release: osimage.Release{PrettyName: "system node"}}
		l.spawn("a system node", func() error { return l.runNode(ctx, name, address, rc, boot) })
	}
	dial, err := l.dialApiserver(ctx)
	if err != nil {
		return err
	}
	cfg := crowd.Config{
		REST: l.plane.AdminConfig(), Namespace: brupopv2.DefaultNamespace, Dir: filepath.Join(l.cfg.Dir, "crowd"),
		Version: l.cfg.From, Offer: l.cfg.To, StageTime: l.cfg.Simulated.StageTime, RebootTime: l.cfg.RebootTime,
		Dial: dial, Notify: l.machineEvent, Log: l.cfg.Log,
	}
	for i, name := range l.nodeNames() {
		cfg.Nodes = append(cfg.Nodes, crowd.Node{Name: name, Address: nodeAddress(i)})
	}
	c, err := crowd.New(cfg)
	if err != nil {
		return err
	}
	l.display.say("starting %d simulated nodes and %d system nodes", len(cfg.Nodes), systemNodes)
	l.spawn("the crowd", func() error { return c.Run(ctx) })
	return nil
}

// dialApiserver returns what connects to the apiserver's Service: the crowd has no cluster DNS.
func (l *Lab) dialApiserver(ctx context.Context) (func(context.Context, string, string) (net.Conn, error), error) {
	var service corev1.Service
	key := client.ObjectKey{Namespace: brupopv2.DefaultNamespace, Name: agentapi.ServiceName}
	if err := l.client.Get(ctx, key, &service); err != nil {
		return nil, fmt.Errorf("finding the apiserver's Service: %w", err)
	}
	at := net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(int(service.Spec.Ports[0].Port)))
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, at)
	}, nil
}

// placeOnCrowd sends the pods of the workload to simulated nodes.
func placeOnCrowd(spec *corev1.PodSpec) {
	spec.NodeSelector = map[string]string{crowd.Mark: "true"}
	spec.Tolerations = []corev1.Toleration{{Key: crowd.Mark, Operator: corev1.TolerationOpExists}}
}

// tally is the fleet as one row for each state: nobody reads a thousand rows.
func tally(rows []row) []row {
	var out []row
	at := map[string]int{}
	for _, r := range rows {
		key := r.state + " " + r.version
		i, ok := at[key]
		if !ok {
			i = len(out)
			at[key] = i
			out = append(out, row{state: r.state, version: r.version, slot: r.slot, moving: r.moving})
		}
		out[i].count++
	}
	for i := range out {
		out[i].name = strconv.Itoa(out[i].count) + " nodes"
	}
	return out
}
