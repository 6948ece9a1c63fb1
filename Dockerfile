# whyrank serve, for machines without a GPU: models are asked over HTTP, encoders run on the CPU.
#   docker build -t whyrank .
#   docker run -p 8000:8000 -e WHYRANK_SERVE_SPEC="listwise(openai('Qwen/Qwen3-8B',base_url='http://vllm:8000/v1'))" whyrank
FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    HF_HOME=/data/huggingface XDG_CACHE_HOME=/data/cache \
    WHYRANK_SERVE_HOST=0.0.0.0 WHYRANK_SERVE_PORT=8000

WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY whyrank whyrank
COPY haystack_integrations haystack_integrations
ARG EXTRAS=serve,mcp,openai,remote
RUN pip install -c constraints.txt ".[$EXTRAS]" && rm -rf /src/* \
    && useradd --create-home --uid 10001 whyrank && mkdir /data && chown whyrank /data

USER whyrank
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s CMD \
    ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/ready', timeout=4)"]
ENTRYPOINT ["whyrank"]
CMD ["serve"]
