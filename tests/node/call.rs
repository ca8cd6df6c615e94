//! One call of the cache, from its op to its outcome.

use crate::adapter::Adapter;
use crate::forked;
use crate::outcome::Outcome;
use crate::request::Op;

/// Make the call and return its outcome.
pub(crate) async fn make(cache: &impl Adapter, op: Op) -> Outcome {
    match op {
        Op::Get { key } => Outcome::of_read(cache.get(&key).await),
        Op::GetWith { key, ttl, load } => Outcome::of_read(cache.get_with(&key, ttl, &load).await),
        Op::GetManyWith { keys, ttl, load } => {
            let results = cache.get_many_with(&keys, ttl, &load).await;
            Outcome::of_batch(keys, results)
        }
        Op::SetWith { key, ttl, load } => {
            Outcome::of_written(cache.insert_with(&key, ttl, &load).await)
        }
        Op::Insert { key, value, ttl } => {
            Outcome::of_written(cache.insert(&key, value, ttl).await.map(|()| true))
        }
        Op::Change { keys, commit } => {
            Outcome::of_written(cache.change(&keys, &commit).await.map(|()| true))
        }
        Op::Remove { key } => Outcome::of_written(cache.remove(&key).await),
        Op::Touch { key, ttl } => Outcome::of_written(cache.touch(&key, ttl).await),
        Op::Fork { key } => forked::read(cache, &key),
        Op::Stats => Outcome::of_stats(&cache.stats()),
        Op::Close => {
            cache.close().await;
            Outcome::ok(true)
        }
    }
}
