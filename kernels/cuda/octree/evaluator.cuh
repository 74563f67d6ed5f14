// How the kernels of this compilation evaluate an octree field: on tensor cores or in float32.
#pragma once

#ifdef KNF_TENSOR_CORES
#include "octree/evaluate_tensor.cuh"
#else
#include "octree/evaluate_float.cuh"
#endif

namespace knf {

#ifdef KNF_TENSOR_CORES
using Evaluator = TensorFieldEvaluator;
#else
using Evaluator = FloatFieldEvaluator;
#endif

}  // namespace knf
