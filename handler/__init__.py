"""A server's work on a request, from headers and bytes to a status, headers and bytes.

====================  ==========================================================
``service``           answers batches of requests; start reading here
``request``           bytes to instances: decoding, validation
``response``          the graph's outputs to answers
``contract``          types of requests and answers, OpenAPI
``throttle``          who may ask how often
``inference``         the graph on the CPU and on a GPU
``observe``           metrics, drift, logs, readiness
``problems``          the one map from errors to statuses
``assembly``          puts a service together from a model's files
``native``            the native engine, under uvicorn
``torchserve``        the entry that TorchServe imports
====================  ==========================================================
"""
