package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"holdfast.dev/holdfast/bgp"
	"holdfast.dev/holdfast/speaker"
)

func peersCommand() *cobra.Command {
	var address, output string
	c := &cobra.Command{
		Use:   "peers [NAME]",
		Short: "show how this node's BGP sessions stand",
		Long: `Show how this node's BGP sessions stand: run it where the daemon runs, as in

  kubectl exec -n holdfast-system POD -- /holdfast peers

ADVERTISED counts the IPv4 and the IPv6 prefixes that the router has been told. With
the name of a BGPPeer, or with -o wide, all that is known of a session is shown, as
by a router's "show bgp neighbor": addresses, timers and capabilities that were agreed
on, messages, how often it came up and was lost, and BFD.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage(errors.New("holdfast peers takes the name of one BGPPeer, or none"))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if output != "" && output != "wide" {
				return usage(fmt.Errorf("--output=%q is not known: wide, or none", output))
			}
			ask := url.Values{}
			if output != "" {
				ask.Set("output", output)
			}
			if len(args) > 0 {
				ask.Set("name", args[0])
			}
			ctx, cancel := context.WithTimeout(c.Context(), 10*time.Second)
			defer cancel()
			return fetch(ctx, "http://"+address+"/peers?"+ask.Encode(), c.OutOrStdout())
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "wide: all that is known of each session; without it, a table")
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
	if answer.StatusCode == http.StatusNotFound {
		why, err := io.ReadAll(io.LimitReader(answer.Body, 4096))
		if err != nil {
			return fmt.Errorf("reading the daemon's answer: %w", err)
		}
		return errors.New(strings.TrimSpace(string(why)))
	}
	if answer.StatusCode != http.StatusOK {
		return errors.New("asking the daemon: it answers " + answer.Status)
	}
	_, err = io.Copy(to, answer.Body)
	return err
}

// servePeers answers people: with a table, or with all that is known of the peer that
// is named, or of each.
func (h *halves) servePeers(w http.ResponseWriter, r *http.Request) {
	name, peers := r.FormValue("name"), h.speaker.Peers()
	if name != "" {
		peers = slices.DeleteFunc(peers, func(p speaker.Peer) bool { return p.Name != name })
		if len(peers) == 0 {
			http.Error(w, fmt.Sprintf("no BGPPeer %q selects this node, or it has no session here", name), http.StatusNotFound)
			return
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if name != "" || r.FormValue("output") == "wide" {
		detailPeers(w, peers, time.Now())
		return
	}
	printPeers(w, peers, time.Now())
}

func printPeers(w io.Writer, peers []speaker.Peer, now time.Time) {
	if len(peers) == 0 {
		fmt.Fprintln(w, nobody)
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
		if text := strings.Join(remarks(p), "; "); text != "" {
			fmt.Fprintf(w, "%s: %s\n", p.Name, text)
		}
	}
}

const nobody = "No BGPPeer selects this node."

// remarks are what is not as it should be.
func remarks(p speaker.Peer) []string {
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
	return nonEmpty(why)
}

func nonEmpty(texts []string) (out []string) {
	for _, t := range texts {
		if t != "" {
			out = append(out, t)
		}
	}
	return out
}
