from typing import Any

from memq_qdrant import grpc
from memq_schemas import CreateIndex, DeleteIndex, Stopwords
from memq_schemas.indexes import Snowball

_NOT_OPTIONS = {"key", "type", "tokenizer", "stopwords", "stemmer"}
# Without params a server uses these defaults too.
_DEFAULT_TOKENIZER = "word"


def create_request(collection: str, index: CreateIndex) -> Any:
    """A CreateFieldIndex that is answered when it is accepted: building may outlast every timeout."""
    return grpc.CreateFieldIndexCollection(
        collection_name=collection,
        wait=False,
        field_name=index.key,
        field_type=grpc.FieldType.Value(f"FieldType{index.type.capitalize()}"),
        field_index_params=_params(index),
    )


def delete_request(collection: str, index: DeleteIndex) -> Any:
    return grpc.DeleteFieldIndexCollection(collection_name=collection, wait=False, field_name=index.key)


def _params(index: CreateIndex) -> Any:
    options = {name: value for name, value in index.model_dump(exclude_none=True).items() if name not in _NOT_OPTIONS}
    texts = (index.tokenizer, index.stopwords, index.stemmer)
    if not options and all(each is None for each in texts):
        return None
    name = f"{index.type}_index_params"
    params = grpc.PayloadIndexParams()
    chosen = getattr(params, name)
    chosen.SetInParent()
    for option, value in options.items():
        setattr(chosen, option, value)
    if name == "text_index_params":
        chosen.tokenizer = grpc.TokenizerType.Value((index.tokenizer or _DEFAULT_TOKENIZER).capitalize())
        if index.stopwords is not None:
            chosen.stopwords.CopyFrom(_stopwords(index.stopwords))
        if index.stemmer is not None:
            chosen.stemmer.snowball.language = _stemmed(index.stemmer)
    return params


def _stopwords(given: str | Stopwords) -> Any:
    if isinstance(given, str):
        return grpc.StopwordsSet(languages=[given])
    return grpc.StopwordsSet(languages=given.languages or (), custom=given.custom or ())


def _stemmed(given: str | Snowball) -> str:
    """The language whose words are stemmed."""
    return given if isinstance(given, str) else given.language
