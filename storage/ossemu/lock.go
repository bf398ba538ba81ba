package ossemu

import "sync"

// locks are a lock for each name, which exist while somebody holds or awaits them.
type locks struct {
	mu   sync.Mutex
	held map[string]*lock
}

type lock struct {
	sync.RWMutex
	users int
}

func (l *locks) get(name string) *lock {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.held[name]
	if k == nil {
		if l.held == nil {
			l.held = map[string]*lock{}
		}
		k = &lock{}
		l.held[name] = k
	}
	k.users++
	return k
}

func (l *locks) put(name string, k *lock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.users--; k.users == 0 {
		delete(l.held, name)
	}
}

// write waits until nobody else has the name, and answers how to give it back.
func (l *locks) write(name string) (unlock func()) {
	k := l.get(name)
	k.Lock()
	return func() { k.Unlock(); l.put(name, k) }
}

// read waits until nobody writes under the name.
func (l *locks) read(name string) (unlock func()) {
	k := l.get(name)
	k.RLock()
	return func() { k.RUnlock(); l.put(name, k) }
}
