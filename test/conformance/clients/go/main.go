// Go clients over a corpus: franz-go and Sarama. The same commands as CorpusClient.java, with the client's name first:
//
//	clients franz-go|sarama produce BOOTSTRAP TOPIC CODEC FOLDER PARTITIONS
//	clients franz-go|sarama consume BOOTSTRAP TOPIC COUNT[,COUNT...]
//	clients franz-go|sarama transact BOOTSTRAP INPUT OUTPUT ID
//
// SARAMA_VERSION names the protocol version that Sarama speaks; empty is its default.
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// client is what each library has to do.
type client interface {
	// produce sends next's records in order until it is empty, and returns when all are acknowledged.
	produce(bootstrap, topic, codec string, next func() (partition int32, value []byte, ok bool)) error
	// consume reads from offset 0 of each partition until tally is complete.
	consume(bootstrap, topic string, tally *tally) error
}

func main() {
	clients := map[string]client{"franz-go": franz{}, "sarama": saramaClient{}}
	if len(os.Args) < 6 || clients[os.Args[1]] == nil {
		fatal(fmt.Errorf("usage: clients franz-go|sarama produce|consume|transact BOOTSTRAP TOPIC ..."))
	}
	c, command, bootstrap, topic := clients[os.Args[1]], os.Args[2], os.Args[3], os.Args[4]
	switch command {
	case "produce":
		partitions, err := strconv.Atoi(os.Args[7])
		fatal(err)
		lines, err := openLines(os.Args[6], partitions)
		fatal(err)
		fatal(c.produce(bootstrap, topic, os.Args[5], lines.next))
		fmt.Printf("produced %d\n", lines.sent)
	case "consume":
		t := newTally(os.Args[5])
		fatal(c.consume(bootstrap, topic, t))
		t.print()
	case "transact":
		fatal(transact(os.Args[1], bootstrap, topic, os.Args[5], os.Args[6]))
		fmt.Println("done")
	default:
		fatal(fmt.Errorf("unknown command %s", command))
	}
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// lines hands out the corpus's records, one partition after the other in turn.
type lines struct {
	readers []*bufio.Scanner
	turn    int
	sent    int
}

func openLines(folder string, partitions int) (*lines, error) {
	l := &lines{}
	for p := range partitions {
		file, err := os.Open(filepath.Join(folder, strconv.Itoa(p)+".txt"))
		if err != nil {
			return nil, err
		}
		scanner := bufio.NewScanner(file)
		scanner.Buffer(make([]byte, 1<<20), 1<<24)
		l.readers = append(l.readers, scanner)
	}
	return l, nil
}

func (l *lines) next() (int32, []byte, bool) {
	for range l.readers {
		p := l.turn
		l.turn = (l.turn + 1) % len(l.readers)
		if l.readers[p].Scan() {
			l.sent++
			return int32(p), append([]byte(nil), l.readers[p].Bytes()...), true
		}
		fatal(l.readers[p].Err())
	}
	return 0, nil, false
}

// tally is what came out of each partition.
type tally struct {
	wanted, seen []int64
	hashes       []hash.Hash
	contiguous   []bool
	missing      int64
}

func newTally(counts string) *tally {
	t := &tally{}
	for _, text := range strings.Split(counts, ",") {
		count, err := strconv.ParseInt(text, 10, 64)
		fatal(err)
		t.wanted = append(t.wanted, count)
		t.seen = append(t.seen, 0)
		t.hashes = append(t.hashes, sha256.New())
		t.contiguous = append(t.contiguous, true)
		t.missing += count
	}
	return t
}

func (t *tally) add(partition int32, offset int64, value []byte) {
	if offset != t.seen[partition] {
		t.contiguous[partition] = false
	}
	t.hashes[partition].Write(value)
	t.hashes[partition].Write([]byte{'\n'})
	t.seen[partition]++
	t.missing--
}

func (t *tally) print() {
	for p := range t.seen {
		fmt.Printf("{\"partition\":%d,\"count\":%d,\"sha256\":\"%s\",\"first\":0,\"contiguous\":%t}\n",
			p, t.seen[p], hex.EncodeToString(t.hashes[p].Sum(nil)), t.contiguous[p])
	}
}
