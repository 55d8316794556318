// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: The Drydock authors

package controller

import (
	"context"
	"fmt"
	"hash/fnv"
	"strings"
	"sync"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"

	v2 "github.com/drydock-os/drydock/api/brupop/v2"
)

// A transition is written first and told afterwards, so a leader that dies in between leaves one that nobody has told
// of. To lose none, the leader says in its Lease what it has told, with the renewals that it writes anyway: up to which
// resource version every transition, and of which refusals. The next leader reads that with the Lease that it takes, and tells
// the rest. What was told meanwhile has the same name and is refused by the server. When nothing was lost, nearly
// nothing is asked.

// ledger is the account of what has been told.
type ledger struct {
	// seen returns the highest resource version of a shadow that is known here; every later write gets a higher one.
	seen func() string

	mu sync.Mutex
	// before is the account of the leader before, which counts until its rest is told.
	before account
	own    bool
	// open are transitions that may have been written and are not told, each with the version that it is surely after.
	open map[*entry]string
	// refusals is the sum of the refusals that were told or are being told, and untold how many are not yet.
	refusals digest
	untold   int
}

// entry is one transition of the ledger.
type entry struct{ _ byte } // not of size zero: each has its own address

// account is what the annotation of the Lease says.
type account struct {
	// upTo is the resource version of shadows up to which every transition was told; empty if that is not known.
	upTo string
	// refusals is known if the account says something of them.
	refusals digest
	known    bool
}

func newLedger(seen func() string) *ledger {
	return &ledger{seen: seen, open: map[*entry]string{}}
}

// begin takes down that a transition is about to be written. It counts as told once the entry is closed.
func (l *ledger) begin() *entry { return l.beginAfter(l.seen()) }

func (l *ledger) beginAfter(version string) *entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &entry{}
	l.open[e] = version
	return e
}

// close ends an entry: it was told, or there was nothing to tell.
func (l *ledger) close(e *entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, e)
}

// tellRefusals takes down the refusals that hold now, of which n more are being told; each ends with toldRefusal. From the
// first call on the account is that of this replica: what the one before left is told by now, or has its entry.
func (l *ledger) tellRefusals(sum digest, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.own = true
	l.refusals = sum
	l.untold += n
}

func (l *ledger) toldRefusal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.untold--
}

// inherit takes in the account of whoever leads before this replica does.
func (l *ledger) inherit(a account) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.before = a
}

func (l *ledger) inherited() account {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.before
}

// account is what can be said now.
func (l *ledger) account() account {
	seen := l.seen() // before the entries are looked at: what is begun later is after it
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.own {
		return l.before
	}
	a := account{upTo: seen, refusals: l.refusals, known: l.untold == 0}
	for _, version := range l.open {
		if !after(version, a.upTo) {
			a.upTo = version
		}
	}
	return a
}

// after is whether a resource version is later than another. One that cannot be compared is, so that in doubt something
// is told again, not lost.
func after(version, than string) bool {
	c, err := resourceversion.CompareResourceVersion(version, than)
	return err != nil || c > 0
}

// digest sums up the refusals of a fleet in parts by the name of the node, so that a change at one node leaves most
// parts the same. The order does not matter.
type digest [16]uint32

// add adds the refusal of a node, and part is where.
func (d *digest) add(node string, r refusal) {
	h := fnv.New64a()
	for _, text := range []string{node, string(r.reason), r.version} {
		_, _ = h.Write([]byte(text + "\x00")) // never fails
	}
	sum := h.Sum64()
	d[part(node)] += uint32(sum ^ sum>>32)
}

func part(node string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(node)) // never fails
	return int(h.Sum32() % uint32(len(digest{})))
}

// String is the value of the annotation v2.ToldAnnotation.
func (a account) String() string {
	var b strings.Builder
	b.WriteString(a.upTo)
	if a.known {
		b.WriteByte(' ')
		for _, part := range a.refusals {
			fmt.Fprintf(&b, "%08x", part)
		}
	}
	return b.String()
}

// parseAccount reads what String made. Whatever else somebody wrote says nothing.
func parseAccount(text string) (a account) {
	upTo, sums, found := strings.Cut(text, " ")
	if _, err := resourceversion.CompareResourceVersion(upTo, upTo); err != nil {
		return account{}
	}
	a.upTo = upTo
	if !found || len(sums) != 8*len(a.refusals) {
		return a
	}
	for i := range a.refusals {
		if _, err := fmt.Sscanf(sums[8*i:8*i+8], "%08x", &a.refusals[i]); err != nil {
			return account{upTo: upTo}
		}
	}
	a.known = true
	return a
}

// ledgerLeases carries the account in the Lease of the election.
type ledgerLeases struct {
	coordinationv1client.LeasesGetter
	ledger *ledger
	// read is called with the account of a Lease whenever it was read.
	read func(account)
}

func (l ledgerLeases) Leases(namespace string) coordinationv1client.LeaseInterface {
	return ledgerLease{l.LeasesGetter.Leases(namespace), l}
}

type ledgerLease struct {
	coordinationv1client.LeaseInterface
	ledgerLeases
}

func (l ledgerLease) Get(ctx context.Context, name string, opts metav1.GetOptions) (*coordinationv1.Lease, error) {
	lease, err := l.LeaseInterface.Get(ctx, name, opts)
	if err == nil {
		l.read(parseAccount(lease.Annotations[v2.ToldAnnotation]))
	}
	return lease, err
}

func (l ledgerLease) Create(ctx context.Context, lease *coordinationv1.Lease, opts metav1.CreateOptions) (*coordinationv1.Lease, error) {
	return l.LeaseInterface.Create(ctx, l.annotated(lease), opts)
}

func (l ledgerLease) Update(ctx context.Context, lease *coordinationv1.Lease, opts metav1.UpdateOptions) (*coordinationv1.Lease, error) {
	return l.LeaseInterface.Update(ctx, l.annotated(lease), opts)
}

func (l ledgerLease) annotated(lease *coordinationv1.Lease) *coordinationv1.Lease {
	lease = lease.DeepCopy()
	metav1.SetMetaDataAnnotation(&lease.ObjectMeta, v2.ToldAnnotation, l.ledger.account().String())
	return lease
}
