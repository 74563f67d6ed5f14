// How the kernels of this compilation evaluate networks: on tensor cores or, as in the paper, in float32.
#pragma once

#ifdef KNF_TENSOR_CORES
#include "kilonerf/evaluate_tensor.cuh"
#else
#include "kilonerf/evaluate_float.cuh"
#endif

namespace knf {

#ifdef KNF_TENSOR_CORES
using Evaluator = TensorEvaluator;
#else
using Evaluator = FloatEvaluator;
#endif

}  // namespace knf
