"""The real packages of real clients, each pointed at a running server by its address alone.

Their packages are the dependency group `serve-clients`, in two environments, since some want cohere 5 and some 7; what
is not installed is skipped, saying so.
"""

import asyncio
import importlib
from collections.abc import Iterator
from types import ModuleType

import pytest
from serve_helpers import running

pytestmark = pytest.mark.engines

QUERY = "why do bees dance?"
DOCS = ["Bees make honey.", "We know that a dance shows where food is.", "Ants dig."]
ORDER = [1, 2, 0]
ANSWER = "<think>[2] says it.</think><answer>[2] > [3] > [1]</answer>"
KEY = "some-key-of-ours"


def need(name: str) -> ModuleType:
    """A client's package."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        pytest.skip(f"{name} is not installed (dependency group serve-clients): {error}")


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    options = ("--search", "docs=bm25()", "--data", "toy", "--any-model")
    with running(*options, spec=f"listwise(fake({ANSWER!r}))", env={"WHYRANK_API_KEYS": KEY}) as url:
        yield url


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CO_API_KEY", "COHERE_API_KEY", "JINA_API_KEY", "NVIDIA_API_KEY", "VOYAGE_API_KEY", "HF_TOKEN"):
        monkeypatch.setenv(name, KEY)


def indices(items: list) -> list[int]:
    scores = [one.relevance_score for one in items]
    assert scores == sorted(scores, reverse=True)
    return [one.index for one in items]


@pytest.mark.parametrize("kind", ["Client", "ClientV2"])
def test_cohere(base, kind):
    client = getattr(need("cohere"), kind)(api_key=KEY, base_url=base)
    found = client.rerank(model="rerank-v3.5", query=QUERY, documents=DOCS, top_n=3)
    assert indices(found.results) == ORDER
    assert found.meta.billed_units.search_units == 1


def test_cohere_1_returns_documents(base):
    client = need("cohere").Client(api_key=KEY, base_url=base)
    found = client.rerank(query=QUERY, documents=[{"text": text} for text in DOCS], return_documents=True, top_n=2)
    assert [one.document.text for one in found.results] == [DOCS[1], DOCS[2]]


@pytest.mark.parametrize("kind", ["AsyncClient", "AsyncClientV2"])
def test_cohere_async(base, kind):
    client = getattr(need("cohere"), kind)(api_key=KEY, base_url=base)
    found = asyncio.run(client.rerank(model="rerank-v3.5", query=QUERY, documents=DOCS))
    assert indices(found.results) == ORDER


def test_cohere_keeps_what_is_ours(base):
    client = need("cohere").ClientV2(api_key=KEY, base_url=base)
    options = {"additional_body_parameters": {"explain": True}}
    found = client.rerank(model="m", query=QUERY, documents=DOCS, request_options=options)
    assert found.whyrank["calls"] == 1
    assert found.results[0].reason == "[2] says it."


def test_voyageai(base):
    client = need("voyageai").Client(api_key=KEY, base_url=f"{base}/v1")
    assert indices(client.rerank(QUERY, DOCS, model="rerank-2").results) == ORDER


def test_voyageai_async(base):
    client = need("voyageai").AsyncClient(api_key=KEY, base_url=f"{base}/v1")
    found = asyncio.run(client.rerank(QUERY, DOCS, model="rerank-2", top_k=2))
    assert indices(found.results) == ORDER[:2]


def test_pinecone(base):
    client = need("pinecone").Pinecone(api_key=KEY, host=base)
    found = client.inference.rerank(model="bge-reranker-v2-m3", query=QUERY, documents=DOCS, top_n=3)
    assert [one.index for one in found.data] == ORDER
    assert found.data[0].document["text"] == DOCS[1]


def test_mixedbread(base):
    client = need("mixedbread").Mixedbread(api_key=KEY, base_url=base)
    found = client.rerank(model="mixedbread-ai/mxbai-rerank-large-v1", query=QUERY, input=DOCS, return_input=True)
    assert [one.index for one in found.data] == ORDER
    assert found.data[0].input == DOCS[1]


def test_infinity(base):
    client, api = need("infinity_client").AuthenticatedClient(base, KEY), need("infinity_client.api.default")
    models = need("infinity_client.models")
    rerank = importlib.import_module(f"{api.__name__}.rerank")
    found = rerank.sync(client=client, body=models.RerankInput(query=QUERY, documents=DOCS, model="m"))
    assert indices(found.results) == ORDER


LITELLM = {
    "cohere/rerank-v3.5": "",
    "hosted_vllm/m": "",
    "litellm_proxy/m": "",
    "together_ai/m": "/v1",
    "jina_ai/jina-reranker-v2": "/v1",
    "voyage/rerank-2": "/v1/rerank",
    "huggingface/m": "",
    "nvidia_nim/m": "",
}


@pytest.mark.parametrize("model", LITELLM)
def test_litellm(base, model):
    litellm = need("litellm")
    found = litellm.rerank(
        model=model, query=QUERY, documents=DOCS, top_n=3, api_key=KEY, api_base=base + LITELLM[model]
    )
    assert [one["index"] for one in found.results] == ORDER


RERANKERS = {
    "cohere": "/v1/rerank",
    "jina": "/v1/rerank",
    "voyage": "/v1/rerank",
    "mixedbread.ai": "/v1/reranking",
    "pinecone": "/rerank",
    "text-embeddings-inference": "/rerank",
}


@pytest.mark.parametrize("provider", RERANKERS)
def test_rerankers(base, provider):
    module = need("rerankers.models.api_rankers")
    ranker = module.APIRanker("m", KEY, api_provider=provider, url=base + RERANKERS[provider])
    assert [one.doc_id for one in ranker.rank(QUERY, DOCS).results] == ORDER


def test_openai_vector_store(base):
    client = need("openai").OpenAI(api_key=KEY, base_url=f"{base}/v1")
    page = client.vector_stores.search("docs", query="why do bees dance?", max_num_results=3)
    assert len(page.data) == 3
    assert page.data[0].content[0].text


# Frameworks that bring a client of their own


def nodes():
    schema = need("llama_index.core.schema")
    return [
        schema.NodeWithScore(node=schema.TextNode(text=text, id_=str(at)), score=0.5) for at, text in enumerate(DOCS)
    ]


def postprocessed(ranker) -> list[int]:
    return [int(one.node.node_id) for one in ranker.postprocess_nodes(nodes(), query_str=QUERY)]


def test_llama_index_cohere(base):
    module = need("llama_index.postprocessor.cohere_rerank")
    assert postprocessed(module.CohereRerank(api_key=KEY, base_url=base, top_n=3, model="m")) == ORDER


def test_llama_index_jina(base):
    module = need("llama_index.postprocessor.jinaai_rerank")
    assert postprocessed(module.JinaRerank(api_key=KEY, base_url=f"{base}/v1", top_n=3)) == ORDER


def test_llama_index_nvidia(base):
    module = need("llama_index.postprocessor.nvidia_rerank")
    assert postprocessed(module.NVIDIARerank(base_url=f"{base}/v1", model="listwise", api_key=KEY, top_n=3)) == ORDER


def test_llama_index_tei(base):
    module = need("llama_index.postprocessor.tei_rerank")
    ranker = module.TextEmbeddingInference(model_name="m", base_url=base, top_n=3, auth_token=f"Bearer {KEY}")
    assert postprocessed(ranker) == ORDER


def documents():
    made = need("langchain_core.documents").Document
    return [made(page_content=text, metadata={"at": at}) for at, text in enumerate(DOCS)]


def compressed(compressor) -> list[int]:
    return [one.metadata["at"] for one in compressor.compress_documents(documents(), QUERY)]


def test_langchain_cohere(base):
    assert compressed(need("langchain_cohere").CohereRerank(cohere_api_key=KEY, base_url=base, model="m")) == ORDER


def test_langchain_voyageai(base):
    module = need("langchain_voyageai")
    ranker = module.VoyageAIRerank(model="rerank-2", voyageai_api_key=KEY, base_url=f"{base}/v1")
    assert compressed(ranker) == ORDER


def test_langchain_nvidia(base):
    module = need("langchain_nvidia_ai_endpoints")
    ranker = module.NVIDIARerank(base_url=f"{base}/v1", model="listwise", api_key=KEY)
    assert compressed(ranker) == ORDER


def haystack_ranked(ranker) -> list[int]:
    made = need("haystack").Document
    if hasattr(ranker, "warm_up"):
        ranker.warm_up()
    found = ranker.run(query=QUERY, documents=[made(content=text, meta={"at": at}) for at, text in enumerate(DOCS)])
    return [one.meta["at"] for one in found["documents"]]


def test_haystack_cohere(base):
    module, secret = need("haystack_integrations.components.rankers.cohere"), need("haystack.utils").Secret
    ranker = module.CohereRanker(model="m", api_key=secret.from_token(KEY), api_base_url=base)
    assert haystack_ranked(ranker) == ORDER


def test_haystack_jina(base):
    module, secret = need("haystack_integrations.components.rankers.jina"), need("haystack.utils").Secret
    ranker = module.JinaRanker(model="m", api_key=secret.from_token(KEY), base_url=f"{base}/v1/rerank")
    assert haystack_ranked(ranker) == ORDER


def test_haystack_nvidia(base):
    module, secret = need("haystack_integrations.components.rankers.nvidia"), need("haystack.utils").Secret
    ranker = module.NvidiaRanker(model="listwise", api_url=f"{base}/v1", api_key=secret.from_token(KEY))
    assert haystack_ranked(ranker) == ORDER


def test_haystack_tei(base):
    module, secret = need("haystack_integrations.components.rankers.huggingface_api"), need("haystack.utils").Secret
    ranker = module.HuggingFaceTEIRanker(url=base, token=secret.from_token(KEY))
    assert haystack_ranked(ranker) == ORDER
