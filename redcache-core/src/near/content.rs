//! The content of an entry: a value, alone or with a companion, or "not found".

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;

use super::companion::Companion;

/// The content of an entry, in as many bytes as a value alone.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    Value(Bytes),
    /// A value with its companion; `None` if the key is cached as not found. Two variants would
    /// take a word more.
    Other(Option<Arc<Accompanied>>),
}

/// A value and its companion. A hit clones both by one reference counter.
#[derive(Debug)]
pub(crate) struct Accompanied<T: ?Sized = dyn Any + Send + Sync> {
    value: Bytes,
    companion: Companion<T>,
}

impl Content {
    #[inline]
    pub(crate) fn value(&self) -> Option<&Bytes> {
        match self {
            Self::Value(value) => Some(value),
            Self::Other(other) => other.as_ref().map(|it| &it.value),
        }
    }

    #[inline]
    pub(crate) fn into_value(self) -> Option<Bytes> {
        match self {
            Self::Value(value) => Some(value),
            Self::Other(other) => other.map(|it| it.value.clone()),
        }
    }

    #[inline]
    pub(crate) fn companion(&self) -> Option<&Companion> {
        match self {
            Self::Value(_) => None,
            Self::Other(other) => other.as_ref().map(|it| &it.companion),
        }
    }

    /// Return the content with a companion for its value.
    pub(super) fn with<T: Any + Send + Sync>(self, companion: Companion<T>) -> Self {
        let other = self
            .into_value()
            .map(|value| -> Arc<Accompanied> { Arc::new(Accompanied { value, companion }) });
        Self::Other(other)
    }
}

impl From<Option<Bytes>> for Content {
    fn from(value: Option<Bytes>) -> Self {
        value.map_or(Self::Other(None), Self::Value)
    }
}

/// Contents are equal if their values are.
impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.value() == other.value()
    }
}

impl Eq for Content {}
