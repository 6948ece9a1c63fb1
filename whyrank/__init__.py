"""whyrank: retrieval and reranking that reason, and say why.

The public names stand in `__init__.pyi`; each is loaded from its room when first used, so that `import whyrank` is
quick and needs no optional package.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.1.0"
