use std::error::Error as _;
use std::fmt::Debug;
use std::io;

use super::*;

fn failed<E: Into<BoxError> + 'static>(error: E) -> LoadError<E> {
    CallError::Load(LoadFailure::new(error)).into()
}

fn not_found() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "no such row")
}

/// Return the text of the error and of its source.
fn texts(error: &dyn std::error::Error) -> (String, Option<String>) {
    (error.to_string(), error.source().map(ToString::to_string))
}

#[test]
fn every_loader_error_keeps_its_text_and_is_the_source() {
    let said = (String::from("the loader failed: no such row"), Some(String::from("no such row")));
    assert_eq!(texts(&failed(not_found())), said);
    assert_eq!(texts(&failed(String::from("no such row"))), said);
    assert_eq!(texts(&failed("no such row")), said);
    assert_eq!(texts(&failed(BoxError::from("no such row"))), said);
    assert_eq!(texts(&failed(anyhow::anyhow!("no such row"))), said);
}

#[test]
fn the_source_of_an_anyhow_error_keeps_its_own_sources() {
    let error = failed(anyhow::Error::new(not_found()).context("while loading"));
    let chain = anyhow::Error::new(error);
    let chain: Vec<_> = chain.chain().map(ToString::to_string).collect();
    assert_eq!(chain, ["the loader failed: while loading", "while loading", "no such row"]);
}

#[test]
fn a_shared_error_dereferences_to_an_error_type() {
    let error = failed(not_found());
    assert_eq!(error.loader_error().unwrap().kind(), io::ErrorKind::NotFound);
    assert!(error.source().unwrap().is::<io::Error>());
}

#[test]
fn a_load_error_is_a_standard_error_for_every_loader() {
    fn check<E: Send + Sync + std::error::Error + Clone>() {}
    check::<LoadError<String>>();
    check::<LoadError<anyhow::Error>>();
    check::<LoadError<BoxError>>();
    check::<LoadError<std::rc::Rc<()>>>();
}

#[test]
fn a_joined_load_of_the_same_type_returns_the_same_error() {
    let failure = CallError::Load(LoadFailure::new(not_found()));
    let one = LoadError::<io::Error>::from(failure.clone());
    let other = LoadError::<io::Error>::from(failure);
    let (one, other) = (one.loader_error().unwrap(), other.loader_error().unwrap());
    assert!(std::ptr::eq::<io::Error>(&**one, &**other));
}

#[test]
fn a_joined_load_of_another_type_is_an_error_of_the_cache_with_its_source() {
    let failure = CallError::Load(LoadFailure::new(not_found()));
    let error = LoadError::<String>::from(failure.clone());
    assert!(error.loader_error().is_none());
    let without_loader = Error::from(failure);
    for error in [error.cache_error().unwrap(), &without_loader] {
        assert_eq!(error.kind(), ErrorKind::LoadFailedElsewhere);
        assert_eq!(error.to_string(), "the load that this call joined failed: no such row");
        assert!(error.source().unwrap().is::<io::Error>());
        assert!(!error.is_retryable());
    }
}

#[test]
fn the_question_mark_converts_in_both_directions() {
    fn fails<E>(result: Result<(), E>) -> Result<(), E> {
        result
    }
    fn without_loader_in_with_loader() -> Result<(), LoadError<String>> {
        fails(Err(Error::closed()))?;
        Ok(())
    }
    fn with_loader_in_without_loader() -> Result<(), Error> {
        fails(Err(failed(not_found())))?;
        Ok(())
    }
    fn into_any() -> Result<(), anyhow::Error> {
        fails(Err(failed("no such row")))?;
        fails(Err(Error::closed()))?;
        Ok(())
    }
    fn into_box() -> Result<(), Box<dyn std::error::Error>> {
        fails(Err(failed(anyhow::anyhow!("no such row"))))?;
        Ok(())
    }
    fn kind<E: Debug>(result: Result<(), LoadError<E>>) -> ErrorKind {
        result.unwrap_err().kind()
    }
    assert_eq!(kind(without_loader_in_with_loader()), ErrorKind::Closed);
    let error = with_loader_in_without_loader().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LoadFailed);
    assert_eq!(error.to_string(), "the loader failed: no such row");
    assert!(error.source().unwrap().is::<io::Error>());
    assert!(into_any().is_err() && into_box().is_err());
}

#[test]
fn a_nested_cache_call_is_a_loader_error_like_any_other() {
    let inner: LoadError<String> = failed(String::from("no such row"));
    let outer = failed(inner);
    assert_eq!(outer.kind(), ErrorKind::LoadFailed);
    assert_eq!(outer.to_string(), "the loader failed: the loader failed: no such row");
    let outer = failed(Error::closed());
    assert_eq!(outer.loader_error().unwrap().kind(), ErrorKind::Closed);
}
