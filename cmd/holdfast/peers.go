package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"holdfast.dev/holdfast/bgp"
)

func peersCommand() *cobra.Command {
	var address string
	c := &cobra.Command{
		Use:   "peers",
		Short: "show how this node's BGP sessions stand",
		Long: `Show how this node's BGP sessions stand: run it where the daemon runs, as in

  kubectl exec -n holdfast-system POD -- /holdfast peers

ADVERTISED counts the IPv4 and the IPv6 prefixes that the router has been told.`,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(c.Context(), 10*time.Second)
			defer cancel()
			return fetch(ctx, "http://"+address+"/peers", c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&address, "health-address", defaultHealth, "what the daemon was given as --health-address")
	return c
}

func fetch(ctx context.Context, url string, to io.Writer) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return usage(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("asking the daemon: %w; does it run here?", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New("asking the daemon: it answers " + answer.Status)
	}
	_, err = io.Copy(to, answer.Body)
	return err
}

// servePeers answers with a table for people.
func (h *halves) servePeers(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	printPeers(w, h.speaker.Peers(), time.Now())
}

func printPeers(w io.Writer, peers []bgp.PeerStatus, now time.Time) {
	if len(peers) == 0 {
		fmt.Fprintln(w, "No BGPPeer selects this node.")
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PEER\tROUTER\tAS\tSTATE\tFOR\tADVERTISED\tBFD")
	for _, p := range peers {
		router := "-"
		if p.Address.IsValid() {
			router = p.Address.String()
		}
		as, advertised := "-", "-"
		if p.RemoteAS != 0 {
			as = strconv.FormatUint(uint64(p.RemoteAS), 10)
		}
		if p.State == bgp.Established {
			advertised = fmt.Sprintf("%d, %d", p.AdvertisedV4, p.AdvertisedV6)
		}
		b := "-"
		if p.BFD != nil {
			b = p.BFD.State.String()
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.Name, router, as, p.State, now.Sub(p.Since).Round(time.Second), advertised, b)
	}
	_ = t.Flush() // as far as the reader is there
	for _, p := range peers {
		var why []string
		if p.Frozen {
			why = append(why, "its BGPPeer cannot be used as it stands (see its status); the session stays as it is")
		}
		if p.State != bgp.Established {
			why = append(why, cmp.Or(p.LastError, p.Reason))
		}
		if p.Pending {
			why = append(why, "times and router ID as its BGPPeer has them now count from the next session on")
		}
		why = append(why, p.Problem)
		if p.BFD != nil {
			why = append(why, p.BFD.Trouble)
		}
		if text := strings.Join(nonEmpty(why), "; "); text != "" {
			fmt.Fprintf(w, "%s: %s\n", p.Name, text)
		}
	}
}

func nonEmpty(texts []string) (out []string) {
	for _, t := range texts {
		if t != "" {
			out = append(out, t)
		}
	}
	return out
}
