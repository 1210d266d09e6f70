//! What ops make once and keep: their tables for a GPU, which depend on their geometry alone.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, Weak};

type Anything = Arc<dyn Any + Send + Sync>;

static CACHE: LazyLock<Mutex<HashMap<String, Anything>>> = LazyLock::new(Mutex::default);

/// What `make` made when it was first asked for under this key (and type): an op's tables, which
/// depend on its geometry alone and are few.
pub fn cached<T: Send + Sync + 'static>(key: String, make: impl FnOnce() -> T) -> Arc<T> {
    let mut cache = CACHE.lock().unwrap_or_else(|e| e.into_inner());
    let known = cache.get(&key).cloned().map(Arc::downcast::<T>);
    if let Some(Ok(known)) = known {
        return known;
    }
    let new = Arc::new(make());
    cache.insert(key, new.clone());
    new
}

/// Things made for an owner, by its address.
type Owned = HashMap<(usize, TypeId), (Weak<dyn Any + Send + Sync>, Anything)>;

static OWNED: LazyLock<Mutex<Owned>> = LazyLock::new(Mutex::default);

/// What `make` made of `owner` when it was first asked for; kept as long as the owner lives.
pub fn cached_for<K, T>(owner: &Arc<K>, make: impl FnOnce(&K) -> T) -> Arc<T>
where
    K: Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    let mut owned = OWNED.lock().unwrap_or_else(|e| e.into_inner());
    let key = (Arc::as_ptr(owner) as usize, TypeId::of::<T>());
    let known = owned
        .get(&key)
        .filter(|(owner, _)| owner.strong_count() > 0)
        .map(|(_, made)| made.clone().downcast::<T>());
    if let Some(Ok(known)) = known {
        return known;
    }
    owned.retain(|_, (owner, _)| owner.strong_count() > 0);
    let new = Arc::new(make(owner));
    let held: Weak<K> = Arc::downgrade(owner);
    owned.insert(key, (held, new.clone()));
    new
}
